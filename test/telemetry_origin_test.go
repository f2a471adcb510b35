package test

import (
	"context"
	"log/slog"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// parents maps the triggers of the recreations, in their order, to the names of their
// parents; "" stands for a root.
func parents(p *testkit.Probe) (all [][2]string) {
	synctest.Wait()
	for _, s := range p.Spans() {
		if s.InstrumentationScope().Name != respawnScope {
			continue
		}
		parent := ""
		for _, o := range p.Spans() {
			if o.SpanContext().Equal(s.Parent()) {
				parent = o.Name()
			}
		}
		all = append(all, [2]string{testkit.Attributes(s.Attributes())["respawn.trigger"].(string), parent})
	}
	return all
}

// within runs f in a span of that name.
func within(t *testing.T, p *testkit.Probe, name string, f func(ctx context.Context)) {
	ctx, span := p.TracerProvider().Tracer("test").Start(t.Context(), name)
	defer span.End()
	f(ctx)
}

// An order waits until another planned candidate is over. Whoever ends that one did not ask
// for the next.
func TestARecreationBelongsToWhoeverAskedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithFactory(fresh))...)
		busy, err := rt.RoundTrip(request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.NoError(t, err)
		defer busy.Body.Close()
		for _, name := range []string{"first order", "second order"} {
			go within(t, p, name, func(ctx context.Context) { assert.NoError(t, rt.Recreate(ctx)) })
			time.Sleep(time.Second)
		}
		within(t, p, "request", func(ctx context.Context) { // it proves the first one's
			_, err := get(ctx, rt, "http://b.test/")
			assert.NoError(t, err)
		})
		time.Sleep(time.Minute)
		assert.Equal(t, [][2]string{{"manual", "first order"}, {"manual", "second order"}}, parents(p))
	})
}

// The same for what is replaced by its age: nobody asked for that.
func TestARecreationByAgeIsARootAlsoAfterAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				time.Sleep(100 * time.Second) // the age is over by then
				return nil, errFactory
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, &testkit.Stub{}, append(observed(p), respawn.WithMaxAge(time.Minute), respawn.WithRecreateTimeout(2*time.Minute), respawn.WithFactory(f.Make))...)
		within(t, p, "order", func(ctx context.Context) { assert.ErrorIs(t, rt.Recreate(ctx), errFactory) })
		assert.Equal(t, [][2]string{{"manual", "order"}, {"max_age", ""}}, parents(p))
	})
}

// A heldHandler holds up the first record that it gets.
type heldHandler struct {
	slog.Handler
	held bool
}

func (h *heldHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.held {
		h.held = true
		time.Sleep(time.Minute)
	}
	return h.Handler.Handle(ctx, r)
}

// What a span tells is as of its end, however late a logger that was in the way lets it be
// told: a rejection ends no outage that ends later.
func TestASpanThatIsToldLateTellsOfNoLaterOutageEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := testkit.Dead(testkit.Refused())
		rt := start(t, base, append(observed(p), respawn.WithFactory(fails), respawn.WithLogger(slog.New(&heldHandler{Handler: p.Logger().Handler()})))...)
		go func() { _, _ = get(t.Context(), rt, "http://a.test/") }() // it trips, and tells of that
		time.Sleep(time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		time.Sleep(5 * time.Second)
		base.Fail(nil)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		assert.Len(t, p.Logged("recovered"), 1)
		assert.NotContains(t, testkit.Attributes(recreationOf(t, p).Attributes()), "respawn.outage.duration")
	})
}

// Until there is a transport, none is in service that could have an age.
func TestWhereThereWasNoTransportThereIsNoAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return nil, errFactory
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, nil, append(observed(p), respawn.WithFactory(f.Make))...)
		time.Sleep(time.Hour)
		require.Error(t, rt.Recreate(t.Context()))
		for range 2 {
			time.Sleep(time.Minute)
			require.NoError(t, rt.Recreate(t.Context()))
		}
		synctest.Wait()
		var ages []any
		for _, s := range p.Recreations() {
			ages = append(ages, age(s))
		}
		assert.Equal(t, []any{nil, nil, 60.0}, ages)
	})
}

func age(s sdktrace.ReadOnlySpan) any {
	return testkit.Attributes(s.Attributes())["respawn.transport.age"]
}

// A request that is silent has its candidate built when the backoff allows that, with no event
// of its own: time passes, or another request brings news.
func TestARecreationForOneThatWaitsBelongsToItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call == 1 {
				return nil, errFactory // the next is built when the interval is over
			}
			return &testkit.Stub{}, nil
		})
		rt := start(t, staysSilent(nil), append(observed(p), patient(5*time.Second), every(700*time.Millisecond), respawn.WithFactory(f.Make))...)
		go within(t, p, "waits", func(ctx context.Context) { _, _ = get(ctx, rt, "http://a.test/") })
		time.Sleep(time.Minute)
		assert.Equal(t, [][2]string{{"silence", "waits"}, {"silence", "waits"}}, parents(p))
	})
}

// What was being built for another reason when the transport ended takes the place of that, and
// so ends the client's outage.
func TestWhateverSucceedsAnEndedTransportEndsTheClientsOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		base := &testkit.SessionStub{}
		rt := start(t, base, append(observed(p), respawn.WithFactory(func(context.Context) (http.RoundTripper, error) {
			time.Sleep(2 * time.Second)
			return &testkit.Stub{}, nil
		}))...)
		go func() { assert.NoError(t, rt.Recreate(t.Context())) }()
		time.Sleep(time.Second)
		base.End(errSessionClosed)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.Len(t, rt.Health().EndedOutages, 1)
		assert.Equal(t, 1.0, testkit.Attributes(recreationOf(t, p).Attributes())["respawn.outage.duration"])
		assert.Equal(t, time.Second, rt.Recreations()[0].Outage)
	})
}

// Recreate waits for no interval of a backoff, whatever came of the calls before it.
func TestAnOrderTellsOfNoBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testkit.NewProbe(t)
		rt := start(t, &testkit.Stub{}, append(observed(p), every(time.Hour), respawn.WithFactory(fails))...)
		for range 3 {
			assert.Error(t, rt.Recreate(t.Context()))
		}
		synctest.Wait()
		for _, s := range p.Recreations() {
			assert.Zero(t, testkit.Attributes(s.Attributes())["respawn.backoff.delay"])
		}
	})
}
