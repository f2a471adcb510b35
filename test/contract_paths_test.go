package test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// A path is a way that a request can take through respawn. Setup returns the client
// in the state that leads the next request down that path.
type path struct {
	name  string
	setup func(*testing.T) *respawn.RecoveringRoundTripper
	want  error  // nil: answered with 200
	last  string // what its latest recreation came to
}

// paths are those of a POST, with whatever body.
var paths = []path{
	{"healthy", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
	}, nil, ""},
	{"with a drain limit", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, &testkit.Stub{}, respawn.WithFactory(fresh), respawn.WithDrainTimeout(time.Hour))
	}, nil, ""},
	{"under suspicion", func(t *testing.T) *respawn.RecoveringRoundTripper {
		rt := start(t, script(lost, testkit.Answer), respawn.WithFactory(fresh))
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.Error(t, err)
		require.NotEmpty(t, rt.Health().Streaks)
		return rt
	}, nil, ""},
	{"replayed", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, script(unsent, testkit.Answer), respawn.WithFactory(fails))
	}, nil, ""},
	{"replayed with a drain limit", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, script(unsent, testkit.Answer), respawn.WithFactory(fails), respawn.WithDrainTimeout(time.Hour))
	}, nil, ""},
	{"trial at once, after its control", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(fresh))
	}, nil, "promoted"},
	{"trial after the threshold and a control", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithFactory(fresh))
	}, nil, "promoted"},
	{"answered as the control of a trial", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, script(unsent, testkit.Answer), respawn.WithThreshold(1), respawn.WithFactory(refusing))
	}, nil, "rejected: current_recovered"},
	{"trial that fails, then the current transport", func(t *testing.T) *respawn.RecoveringRoundTripper {
		// What was sent and broke can be asked only once, so the next one like it
		// goes to the candidate first.
		rt := start(t, script(lost, testkit.Answer), respawn.WithThreshold(1), respawn.WithFactory(refusing))
		_, err := testkit.Do(rt, request(t.Context(), http.MethodPost, "http://a.test/", nil))
		require.ErrorIs(t, err, errReset)
		return rt
	}, nil, "rejected: connection_refused"},
	{"called back from a planned candidate", func(t *testing.T) *respawn.RecoveringRoundTripper {
		rt := planned(t, silentDials())
		time.Sleep(5 * time.Second) // from half of its time on it is tried first
		return rt
	}, nil, "rejected: trial_timeout"},
	{"served by a planned candidate", func(t *testing.T) *respawn.RecoveringRoundTripper {
		rt := planned(t, &testkit.Stub{})
		time.Sleep(5 * time.Second)
		return rt
	}, nil, "promoted"},
	{"ended transport", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, ended(), respawn.WithFactory(fresh))
	}, nil, "promoted"},
	{"waited for ready", func(t *testing.T) *respawn.RecoveringRoundTripper {
		f := testkit.NewFactory(func(_ context.Context, call int64) (http.RoundTripper, error) {
			if call < 3 {
				return nil, errFactory
			}
			return &testkit.Stub{}, nil
		})
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(f.Make),
			every(time.Second), respawn.WithWaitForReady(time.Minute))
	}, nil, "promoted"},
	{"fallback", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(fails),
			respawn.WithFallback(&testkit.Stub{}))
	}, nil, "rejected: factory_error"},
	{"fallback after a control", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return diverted(t, 1)
	}, nil, "rejected: factory_error"},
	{"fallback at once", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return diverted(t, 2)
	}, nil, "rejected: factory_error"},
	{"fallback fails", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(fails),
			respawn.WithFallback(testkit.Dead(errReset)))
	}, errReset, "rejected: factory_error"},
	{"all refused", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithFactory(refusing))
	}, syscall.ECONNREFUSED, "rejected: connection_refused"},
	{"in the backoff window", func(t *testing.T) *respawn.RecoveringRoundTripper {
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(fails), every(time.Hour))
		_, err := get(t.Context(), rt, "http://a.test/")
		require.Error(t, err)
		return rt
	}, syscall.ECONNREFUSED, "rejected: factory_error"},
	{"lost on the wire", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(lost), respawn.WithFactory(fails))
	}, errReset, ""},
	{"lost in the trial", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1),
			respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return testkit.RoundTripperFunc(lost), nil }))
	}, errReset, "rejected: connection_reset"},
	{"never replayed", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(fresh))
	}, syscall.ECONNREFUSED, ""},
	{"closed", func(t *testing.T) *respawn.RecoveringRoundTripper {
		rt := start(t, &testkit.Stub{}, respawn.WithFactory(fresh))
		require.NoError(t, rt.Close())
		return rt
	}, respawn.ErrClosed, ""},
	{"closed while waiting for the verdict", func(t *testing.T) *respawn.RecoveringRoundTripper {
		rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(hangs))
		time.AfterFunc(time.Second, func() { rt.Close() })
		return rt
	}, syscall.ECONNREFUSED, "rejected: closed"},
	{"factory times out", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(hangs))
	}, syscall.ECONNREFUSED, "rejected: factory_timeout"},
	{"deadline while waiting for the verdict", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(hangs),
			respawn.WithRecreateTimeout(time.Hour))
	}, syscall.ECONNREFUSED, ""},
	// Nothing was lent to any transport, so nobody else closes the body.
	{"deadline while an ended transport is replaced", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return start(t, ended(), respawn.WithFactory(hangs), respawn.WithRecreateTimeout(time.Hour))
	}, context.DeadlineExceeded, ""},
}

// copied are the paths of a GET that is in two places at once.
var copied = []path{
	{"copied while the transport in service is silent", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return silenced(t, testkit.RoundTripperFunc(neverAnswers))
	}, nil, "promoted"},
	{"copied, and answered by the transport in service", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return silenced(t, &testkit.Stub{Delay: 1500 * time.Millisecond})
	}, nil, "rejected: current_recovered"},
	{"copied, and then its control was answered, too", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return silenced(t, &testkit.Stub{Delay: 2050 * time.Millisecond})
	}, nil, "rejected: upstream_slow"},
	{"copied to a planned candidate", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return planned(t, &testkit.Stub{})
	}, nil, "promoted"},
	{"copied to a planned candidate that fails", func(t *testing.T) *respawn.RecoveringRoundTripper {
		return planned(t, testkit.Dead(errReset))
	}, nil, "rejected: connection_reset"},
}

// refusing is a factory of transports that never get a connection.
func refusing(context.Context) (http.RoundTripper, error) {
	return testkit.RoundTripperFunc(unsent), nil
}

// neverAnswers is a transport that is silent until its caller leaves.
func neverAnswers(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	testkit.CloseBody(req)
	return nil, context.Cause(req.Context())
}

// ended is a transport that has ended before its first request.
func ended() *testkit.SessionStub {
	s := &testkit.SessionStub{}
	s.End(net.ErrClosed)
	return s
}

// diverted is a client with a fallback whose dead transport was asked n times.
func diverted(t *testing.T, n int) *respawn.RecoveringRoundTripper {
	rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithThreshold(1), respawn.WithFactory(fails),
		respawn.WithFallback(&testkit.Stub{}), every(time.Hour))
	for range n {
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
	}
	return rt
}

// silenced is a client whose transport was silent until it tripped, and does from
// then on what then does. Its candidates answer.
func silenced(t *testing.T, then http.RoundTripper) *respawn.RecoveringRoundTripper {
	rt := start(t, script(neverAnswers, neverAnswers, then.RoundTrip), respawn.WithStallThreshold(2, time.Second),
		respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return &testkit.Stub{Delay: time.Second}, nil }))
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := testkit.Do(rt, request(ctx, http.MethodPost, "http://a.test/", nil))
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	return rt
}

// planned is a client that is well, and whose planned candidate is to be proved:
// something is in flight.
func planned(t *testing.T, candidate http.RoundTripper) *respawn.RecoveringRoundTripper {
	rt := start(t, &testkit.Stub{}, respawn.WithFactory(func(context.Context) (http.RoundTripper, error) { return candidate, nil }))
	resp, err := rt.RoundTrip(request(t.Context(), http.MethodGet, "http://b.test/", nil))
	require.NoError(t, err)
	go func() { _ = rt.Recreate(t.Context()) }()
	synctest.Wait()
	require.NoError(t, resp.Body.Close())
	return rt
}

// The caller's request is not written to, its body is closed exactly once, and
// the response leads back to the caller's own request, on every path.
func TestContractOnEveryPath(t *testing.T) {
	for _, path := range paths {
		for _, kind := range bodyKinds {
			t.Run(path.name+"/"+kind.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { keepsTheContract(t, path, http.MethodPost, kind.set) })
			})
		}
	}
	for _, path := range copied {
		for _, kind := range bodyKinds[:2] {
			t.Run(path.name+"/"+kind.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { keepsTheContract(t, path, http.MethodGet, kind.set) })
			})
		}
	}
}

func keepsTheContract(t *testing.T, path path, method string, setBody func(*http.Request, *bodies)) {
	rt := path.setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req := request(ctx, method, "http://a.test/path?q=1", nil)
	req.Header.Set("X-Test", "1")
	req.Trailer = http.Header{"X-Sum": {"2"}}
	var sent bodies
	setBody(req, &sent)
	before := freeze(req)

	resp, err := rt.RoundTrip(req)

	if path.want != nil {
		require.ErrorIs(t, err, path.want)
		assert.Nil(t, resp)
	} else {
		require.NoError(t, err)
		assert.Same(t, req, resp.Request, "resp.Request must be the caller's")
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		if len(sent.made) > 0 {
			assert.Equal(t, payload, string(got), "the server must see the whole body")
		}
	}
	time.Sleep(time.Minute) // what went on for the verdict alone is over
	synctest.Wait()
	before.assertUntouched(t)
	sent.assertClosedOnce(t)
	assert.Zero(t, rt.Health().InFlight, "the request must be counted out")
	assert.Equal(t, path.last, latest(rt), "it was another path")
}

// latest is what the latest recreation that has ended came to.
func latest(rt *respawn.RecoveringRoundTripper) string {
	all := rt.Recreations()
	if len(all) == 0 {
		return ""
	}
	r := all[len(all)-1]
	return strings.TrimSuffix(string(r.Outcome)+": "+string(r.ErrorType), ": ")
}

// A GetBody that fails ends the call with the transport's own error, which the
// caller can do more with.
func TestContractFailingGetBody(t *testing.T) {
	for name, again := range map[string]func() (io.ReadCloser, error){
		"fails":  func() (io.ReadCloser, error) { return nil, errors.New("the file is gone") },
		"panics": func() (io.ReadCloser, error) { panic("the file is gone") },
	} {
		t.Run(name, func(t *testing.T) {
			rt := start(t, testkit.RoundTripperFunc(unsent), respawn.WithFactory(fails))
			var sent bodies
			req := request(t.Context(), http.MethodPost, "http://a.test/", nil)
			req.Body = sent.next(strings.NewReader(payload))
			req.GetBody = again
			before := freeze(req)

			_, err := rt.RoundTrip(req)

			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			before.assertUntouched(t)
			sent.assertClosedOnce(t)
			assert.Zero(t, rt.Health().InFlight)
		})
	}
}

// Where the transport has no error, since the request was called back, the caller hears
// why there is no body: from GetBody itself, if that says so.
func TestContractGetBodyOfWhatWasCalledBack(t *testing.T) {
	gone := errors.New("the file is gone")
	for name, tt := range map[string]struct {
		again func() (io.ReadCloser, error)
		want  string
	}{
		"fails":         {func() (io.ReadCloser, error) { return nil, gone }, gone.Error()},
		"panics":        {func() (io.ReadCloser, error) { panic("no file") }, "respawn: the request's GetBody panicked"},
		"gives nothing": {func() (io.ReadCloser, error) { return nil, nil }, "respawn: the request's GetBody returned neither a body nor an error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := planned(t, silentDials())
				time.Sleep(5 * time.Second) // from half of its time on it is tried first
				var sent bodies
				req := request(t.Context(), http.MethodPost, "http://a.test/", nil)
				req.Body, req.GetBody = sent.next(strings.NewReader(payload)), tt.again

				_, err := rt.RoundTrip(req)

				require.EqualError(t, err, tt.want)
				assert.Equal(t, name == "fails", err == gone)
				sent.assertClosedOnce(t)
				assert.Zero(t, rt.Health().InFlight)
			})
		})
	}
}
