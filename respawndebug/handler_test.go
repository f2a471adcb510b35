package respawndebug

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/respawnhttp/respawn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/net/html"
)

const api = "https://api.test/v1"

// Each state is said in words, and the whole page takes no time at all.
func TestStatesInWords(t *testing.T) {
	failure := errors.New("secret")
	for _, tc := range []struct {
		name, state, says string
		make              func(r *rig)
	}{
		{"new", "healthy", "Serving. Nothing is under suspicion.", func(*rig) {}},
		{"one failure", "healthy", "Serving. One authority is under suspicion.", func(r *rig) {
			r.down.Store(true)
			r.get(api)
		}},
		{"two authorities", "healthy", "Serving. 2 authorities are under suspicion.", func(r *rig) {
			r.down.Store(true)
			r.get(api)
			r.get("http://b.test/")
		}},
		{"replaced by hand", "healthy", "Serving. A replacement for the transport is being tried.", func(r *rig) {
			r.build.Store(int64(time.Second))
			go r.rt.Recreate(r.t.Context())
			synctest.Wait()
		}},
		{"tried", "recovering", "A fresh transport is being tried. Failed requests wait for the outcome.", func(r *rig) {
			r.trip(api)
			r.build.Store(int64(time.Second))
			go r.get(api)
			synctest.Wait()
		}},
		{"upstream down", "recovering", "Tripped: once the backoff allows, the next request is tried on a fresh transport. Until then the current one serves what it can.", func(r *rig) {
			r.trip(api)
			r.get(api)
		}},
		{"promoted", "recovering", "A fresh transport is in service. The outage ends with its first success.", func(r *rig) {
			r.trip("http://other.test/")
			r.trip(api)
			r.recover(api)
		}},
		{"ended", "recovering", "The transport has ended: the next request gets a fresh one.", func(r *rig) {
			r.first.ended.Store(true)
		}},
		{"nothing can be built", "failing", "No request can be served for now: no fresh transport could be built (factory_error), and the backoff delays the next attempt.", func(r *rig) {
			r.fails.Store(&failure)
			r.trip(api)
			time.Sleep(time.Second)
			r.get(api)
		}},
		{"closed", "closed", "Closed: requests are refused, those in flight finish.", func(r *rig) {
			require.NoError(r.t, r.rt.Close())
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "llm")
				tc.make(r)
				begin := time.Now()
				page := look(t, r.rt)
				assert.Zero(t, time.Since(begin), "the page has waited for something")
				assert.Equal(t, tc.state+" · respawn", page.all("title", "")[0].text())
				assert.Equal(t, "llm", page.all("h2", "")[0].text())
				state := page.all("span", "state")
				require.Len(t, state, 1)
				assert.Equal(t, tc.state, state[0].text())
				assert.True(t, state[0].has(tc.state), "its color")
				assert.Equal(t, tc.says, page.all("p", "summary")[0].text())
				time.Sleep(time.Minute) // what is under way ends
			})
		})
	}
}

// badNight has seen a lot: 40 streams open, an upstream that is down for 13 s, a
// trial that fails, a transport that is dead, one that takes its place, and 10
// streams that are still open.
func badNight(t *testing.T, r *rig) (left []io.Closer) {
	t.Helper()
	r.build.Store(int64(500 * time.Millisecond))
	for range 40 {
		left = append(left, r.open("https://streams.test/stream"))
	}
	r.trip(api)                  // at 0 s
	require.False(t, r.get(api)) // rejected at 0.5 s
	time.Sleep(13 * time.Second) // the backoff is 10 s
	require.False(t, r.get(api)) // the refusal has spent what was known
	r.build.Store(int64(2e9))
	r.recover(api) // promoted at 15.5 s
	time.Sleep(3 * time.Second)
	for _, body := range left[10:] {
		require.NoError(t, body.Close())
	}
	return left[:10]
}

func TestPageShowsAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		left := badNight(t, r)
		page := look(t, r.rt)

		assert.Equal(t, [][]string{
			{"00:00:13", "promoted", "connection_refused", "https://api.test:443", "2", "5", "2.0 s", "15.5 s", "40 requests, still draining"},
			{"00:00:00", "rejected connection_refused", "connection_refused", "https://api.test:443", "1", "3", "500 ms", "15.5 s", ""},
		}, page.rows("recreations"), "the newest first")
		assert.Equal(t, [][]string{{"1", "10", "3.0 s ago"}}, page.rows("draining"))
		assert.Empty(t, page.rows("streaks"))
		assert.Equal(t, []string{
			"Failing none of the hosts", "Next attempt none none is needed", "In flight 10 10 of them draining", "Failures 5 0 sent again",
			"Recreations 1 promoted, 1 rejected generation 2 in service for 3.0 s",
			"Last failure connection_refused https://api.test:443, 3.0 s ago", "Last rejection connection_refused https://api.test:443, 18.0 s ago",
		}, facts(page))

		plot := page.all("svg", "plot")
		require.Len(t, plot, 1)
		assert.Equal(t, "img", plot[0].attr("role"))
		assert.Equal(t, "1 outage, 2 recreations since 00:00:00", plot[0].all("title", "")[0].text())
		assert.Equal(t, "1 promoted, 1 rejected. Longest outage: 15.5 s. Retired with 40 requests in flight.", plot[0].all("desc", "")[0].text())
		assert.Equal(t, []string{
			"00:00:00 connection_refused: rejected (connection_refused) after 500 ms, generation 1 in service, https://api.test:443",
			"00:00:13 connection_refused: promoted after 2.0 s, generation 2 in service, https://api.test:443",
		}, plot[0].titles("g", "mark"))
		assert.Len(t, plot[0].all("use", "promoted"), 1)
		assert.Len(t, plot[0].all("use", "rejected"), 1)
		assert.Equal(t, []string{"https://api.test:443: outage of 15.5 s, from 00:00:00 to 00:00:15"}, plot[0].titles("rect", "outage"), "one bar")
		assert.Equal(t, "15.5 s", plot[0].all("text", "length")[0].text())
		assert.Equal(t, [][]string{
			{"https://api.test:443", "15.5 s", "00:00:00", "00:00:15", "connection_refused", "ended by a fresh transport"},
		}, page.rows("outages"))
		assert.Equal(t, []string{"still draining: 40 requests in flight when it was retired"}, plot[0].titles("rect", "drain"))

		for _, body := range left {
			require.NoError(t, body.Close())
		}
		page = look(t, r.rt)
		assert.Equal(t, "40 requests in 3.0 s", page.rows("recreations")[0][8])
		assert.Empty(t, page.rows("draining"))
		assert.Equal(t, []string{"40 requests drained in 3.0 s"}, page.titles("rect", "drain"))
	})
}

// facts are the figures at the top of a client.
func facts(page node) (facts []string) {
	for _, div := range page.all("dl", "facts")[0].all("div", "") {
		var words []string
		for d := range div.ChildNodes() {
			if d.Type == html.ElementNode {
				words = append(words, node{d}.text())
			}
		}
		facts = append(facts, strings.Join(words, " "))
	}
	return facts
}

func TestPageShowsStreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		r.trip("https://b.test/")
		time.Sleep(time.Minute)
		r.get("http://a.test:8080/")
		assert.Equal(t, [][]string{
			{"http://a.test:8080", "suspected", "1", "0", "0 s ago"},
			{"https://b.test:443", "tripped", "3", "0", "1 min 0 s ago"},
		}, look(t, r.rt).rows("streaks"))
		r.down.Store(false)
		require.True(t, r.get("http://a.test:8080/"))
		require.True(t, r.get("https://b.test/"), "by a fresh transport, which proves nothing")
		require.True(t, r.get("https://b.test/"), "by the one in service, which ends the outage")
		assert.Empty(t, look(t, r.rt).all("table", "streaks"))
	})
}

func TestACalledOffRecreationIsNoRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		r.trip(api)
		r.build.Store(int64(time.Second))
		go r.get(api)
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, r.rt.Close())
		time.Sleep(time.Minute)
		page := look(t, r.rt)
		assert.Equal(t, "called off closed the client was closed", page.rows("recreations")[0][1])
		assert.Len(t, page.all("svg", "plot")[0].all("use", "called-off"), 1)
		assert.Equal(t, "1 called off. Longest outage: 500 ms.", page.all("desc", "")[0].text())
	})
}

// From the page to the trace, by its id.
func TestPageLeadsToTheTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewSpanRecorder()
		r := newRig(t, "llm", respawn.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
		require.NoError(t, r.rt.Recreate(t.Context()))
		synctest.Wait()
		require.Len(t, spans.Ended(), 1)
		ids := look(t, r.rt).all("span", "trace")
		require.Len(t, ids, 1)
		assert.Equal(t, "trace "+spans.Ended()[0].SpanContext().TraceID().String(), ids[0].text())

		r = newRig(t, "untraced")
		require.NoError(t, r.rt.Recreate(t.Context()))
		synctest.Wait()
		assert.Empty(t, look(t, r.rt).all("span", "trace"))
	})
}

func TestEachClientHasItsSection(t *testing.T) {
	a, b := newRig(t, "same"), newRig(t, "same")
	require.NoError(t, b.rt.Close())
	page := look(t, a.rt, b.rt)
	require.Len(t, page.all("section", ""), 2)
	assert.Equal(t, "closed · respawn", page.all("title", "")[0].text(), "the worst is the page's")
	ids := map[string]int{}
	for d := range page.Descendants() {
		if id := (node{d}).attr("id"); id != "" {
			ids[id]++
		}
	}
	for id, n := range ids {
		assert.Equal(t, 1, n, "id %s", id)
	}
	for _, a := range page.all("nav", "")[0].all("a", "") {
		assert.Contains(t, ids, strings.TrimPrefix(a.attr("href"), "#"))
	}
	assert.Empty(t, look(t, a.rt).all("nav", ""), "one client needs none")
	assert.Contains(t, look(t).all("main", "")[0].text(), "No client was given to this page.")
}

func TestJSONIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		defer func(left []io.Closer) { _ = left[0].Close() }(badNight(t, r))
		w := ask(t, http.MethodGet, "?format=json", r.rt)
		require.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var got struct {
			Version string
			Time    time.Time
			Clients []map[string]json.RawMessage
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.Equal(t, respawn.Version, got.Version)
		assert.True(t, got.Time.Equal(time.Now()))
		require.Len(t, got.Clients, 1)

		want, err := json.Marshal(r.rt.Health())
		require.NoError(t, err)
		var fields map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(want, &fields))
		require.Contains(t, fields, "draining_generations")
		for name, value := range fields {
			assert.JSONEq(t, string(value), string(got.Clients[0][name]), name)
		}
		want, err = json.Marshal(r.rt.Recreations())
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(got.Clients[0]["recreations"]))
		assert.JSONEq(t, `3`, string(got.Clients[0]["age_seconds"]))
		assert.JSONEq(t, `"Serving. Nothing is under suspicion."`, string(got.Clients[0]["summary"]))
		assert.Len(t, got.Clients[0], len(fields)+2)
	})
	assert.Contains(t, ask(t, http.MethodGet, "?format=json").Body.String(), `"clients": []`)
}

func TestRefresh(t *testing.T) {
	r := newRig(t, "llm")
	refreshes := func(query string) string {
		w := ask(t, http.MethodGet, query, r.rt)
		require.Equal(t, http.StatusOK, w.Code)
		for _, meta := range parse(t, w.Body.String()).all("meta", "") {
			if meta.attr("http-equiv") == "refresh" {
				return meta.attr("content")
			}
		}
		return ""
	}
	assert.Equal(t, "5", refreshes(""))
	assert.Equal(t, "2", refreshes("?refresh=2"))
	assert.Empty(t, refreshes("?refresh=0"))
	for _, query := range []string{"?refresh=", "?refresh=-1", "?refresh=soon", "?refresh=3601", "?refresh=1%3Burl%3Dhttp://evil.test", "?format=xml"} {
		assert.Equal(t, http.StatusBadRequest, ask(t, http.MethodGet, query, r.rt).Code, query)
	}
}

func TestOnlyReads(t *testing.T) {
	r := newRig(t, "llm")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		w := ask(t, method, "", r.rt)
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	get, head := ask(t, http.MethodGet, "", r.rt), ask(t, http.MethodHead, "", r.rt)
	assert.Equal(t, http.StatusOK, head.Code)
	assert.Equal(t, get.Header(), head.Header())
	assert.PanicsWithValue(t, "respawndebug: DebugHandler: client 2 is nil: pass what respawn.New returned",
		func() { DebugHandler(r.rt, nil) })
}
