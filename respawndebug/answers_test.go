package respawndebug

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/respawnhttp/respawn"
)

// said is what the text says after the first words of a line; "" if there is none.
func said(text, words string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), words); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// answered are the answers of the text.
func answered(text string) answers {
	return answers{
		Over: said(text, "is it over?"), Host: said(text, "which host?"), Transport: said(text, "was it the transport?"),
		Long: said(text, "how long?"), Next: said(text, "what next?"),
	}
}

// answers are those of the page.
func (n node) answers() (all []string) {
	for _, dl := range n.all("dl", "answers") {
		for _, dd := range dl.all("dd", "") {
			all = append(all, dd.text())
		}
	}
	return all
}

// Whoever is paged has five questions. The text answers them before, during and after
// each kind of incident, and the page says the same.
func TestFiveAnswers(t *testing.T) {
	failure := errors.New("no tunnel")
	for _, tc := range []struct {
		name string
		make func(r *rig)
		want answers
	}{
		{"nothing", func(*rig) { time.Sleep(time.Hour) }, answers{
			Over: "Nothing has been down since the start.", Host: "None", Transport: "No.", Long: "Not at all.", Next: "Nothing to do.",
		}},
		{"the first trial is under way", func(r *rig) {
			r.trip(api)
			r.build.Store(int64(time.Minute))
			go r.get(api)
			time.Sleep(2 * time.Second)
		}, answers{
			Over: "No: down for 2 s.", Host: "https://api.test:443", Transport: "Not known yet: no fresh transport has been proven or rejected.",
			Long: "2.0 s so far, since 00:00:00 UTC.", Next: "A fresh transport is being tried now.",
		}},
		{"the upstream is down", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(7500 * time.Millisecond)
		}, answers{
			Over: "No: down for 7 s.", Host: "https://api.test:443",
			Transport: "No: a fresh transport failed, too (connection_refused). The upstream, or the way to it, is down.",
			Long:      "7.5 s so far, since 00:00:00 UTC.",
			Next:      "Next attempt in 3 s. Look at the upstream and the network: a restart of this process does not help.",
		}},
		{"the upstream is down, and nobody asks", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(time.Minute)
		}, answers{
			Over: "No: down for 1 min.", Host: "https://api.test:443",
			Transport: "No: a fresh transport failed, too (connection_refused). The upstream, or the way to it, is down.",
			Long:      "1 min 0 s so far, since 00:00:00 UTC.",
			Next:      "The next request makes the next attempt. Look at the upstream and the network: a restart of this process does not help.",
		}},
		{"the upstream has returned", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(13600 * time.Millisecond)
			r.down.Store(false)
			require.True(r.t, r.get("https://api.test/control"))
			require.True(r.t, r.get("https://api.test/control"))
			time.Sleep(5 * time.Minute)
		}, answers{
			Over: "Yes: it ended 5 min ago.", Host: "https://api.test:443",
			Transport: "No: fresh transports failed, too. The upstream, or the way to it, was down.",
			Long:      "13.6 s, from 00:00:00 to 00:00:13 UTC.", Next: "Nothing to do.",
		}},
		{"swapped", func(r *rig) {
			r.trip(api)
			r.build.Store(int64(time.Second))
			r.recover(api)
			time.Sleep(14 * time.Second)
		}, answers{
			Over: "Yes: it ended 14 s ago.", Host: "https://api.test:443", Transport: "Yes: a fresh transport took over, and requests are answered.",
			Long: "1.0 s, from 00:00:00 to 00:00:01 UTC.", Next: "Nothing to do.",
		}},
		{"swapped after the upstream was down", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(40 * time.Second)
			r.get(api) // the refusal has spent what was known
			r.recover(api)
		}, answers{
			Over: "Yes: it ended less than 1 s ago.", Host: "https://api.test:443",
			Transport: "In part: fresh transports failed at first (connection_refused), then one took over, and requests are answered.",
			Long:      "40.0 s, from 00:00:00 to 00:00:40 UTC.", Next: "Nothing to do.",
		}},
		{"nothing can be built", func(r *rig) {
			r.fails.Store(&failure)
			r.trip(api)
			r.get(api)
			time.Sleep(4 * time.Second)
		}, answers{
			Over: "No: down for 4 s.", Host: "https://api.test:443", Transport: "Unknown: no fresh transport could be built (factory_error).",
			Long: "4.0 s so far, since 00:00:00 UTC.", Next: "Next attempt in 6 s. Look at what the factory needs: a tunnel, a session, certificates.",
		}},
		{"nothing could be built, and the transport has recovered", func(r *rig) {
			r.fails.Store(&failure)
			r.trip(api)
			r.get(api)
			time.Sleep(4 * time.Second)
			r.down.Store(false)
			require.True(r.t, r.get(api))
			time.Sleep(3 * time.Hour)
		}, answers{
			Over: "Yes: it ended 3 h ago.", Host: "https://api.test:443",
			Transport: "Unknown: no fresh transport could be built (factory_error). The one in service answers again.",
			Long:      "4.0 s, from 00:00:00 to 00:00:04 UTC.", Next: "Nothing to do.",
		}},
		{"a false alarm", func(r *rig) {
			r.trip(api)
			r.down.Store(false)
			require.True(r.t, r.get(api))
			require.True(r.t, r.get(api))
			time.Sleep(time.Minute)
		}, answers{
			Over: "Yes: it ended 1 min ago.", Host: "https://api.test:443", Transport: "No: the transport in service answered again by itself.",
			Long: "0 s, from 00:00:00 to 00:00:00 UTC.", Next: "Nothing to do.",
		}},
		{"a swap for another host", func(r *rig) {
			r.trip("http://other.test/")
			time.Sleep(3 * time.Second)
			r.trip(api)
			r.recover(api)
		}, answers{
			Over: "No: down for 3 s.", Host: "http://other.test:80", Transport: "Perhaps: a fresh transport is in service, and has not answered this host yet.",
			Long: "3.0 s so far, since 00:00:00 UTC.", Next: "The next answer ends the outage.",
		}},
		{"a swap for another host that did not help", func(r *rig) {
			r.trip("http://other.test/")
			time.Sleep(3 * time.Second)
			r.trip(api)
			r.recover(api)
			r.trip("http://other.test/")
		}, answers{
			Over: "No: down for 3 s.", Host: "http://other.test:80",
			Transport: "No: a fresh transport took over, and fails as well. The upstream, or the way to it, is down.",
			Long:      "3.0 s so far, since 00:00:00 UTC.",
			Next:      "Next attempt in 10 s. Look at the upstream and the network: a restart of this process does not help.",
		}},
		{"the transport has ended", func(r *rig) {
			r.fails.Store(&failure)
			r.first.ended.Store(true)
			r.get(api)
			time.Sleep(9 * time.Second)
		}, answers{
			Over: "No: down for 9 s.", Host: "All hosts: the transport has ended",
			Transport: "Yes: the transport itself reports that it has ended, and no fresh one could be built (factory_error).",
			Long:      "9.0 s so far, since 00:00:00 UTC.", Next: "Next attempt in 1 s. Look at what the factory needs: a tunnel, a session, certificates.",
		}},
		{"the transport has ended, and its successor is built", func(r *rig) {
			r.build.Store(int64(time.Minute))
			r.first.ended.Store(true)
			go r.get(api)
			time.Sleep(2 * time.Second)
		}, answers{
			Over: "No: down for 2 s.", Host: "All hosts: the transport has ended", Transport: "Yes: the transport itself reports that it has ended.",
			Long: "2.0 s so far, since 00:00:00 UTC.", Next: "A fresh transport is being tried now.",
		}},
		{"the transport had ended", func(r *rig) {
			r.build.Store(int64(2 * time.Second))
			r.first.ended.Store(true)
			require.True(r.t, r.get(api))
			time.Sleep(time.Minute)
		}, answers{
			Over: "Yes: it ended 1 min ago.", Host: "All hosts: the transport had ended", Transport: "Yes: the transport had ended, and a fresh one took over.",
			Long: "2.0 s, from 00:00:00 to 00:00:02 UTC.", Next: "Nothing to do.",
		}},
		{"the transport had ended, and a host was down before", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(2 * time.Second)
			r.first.ended.Store(true)
			r.get(api)
			time.Sleep(18 * time.Second)
			r.down.Store(false)
			require.True(r.t, r.get(api))
			time.Sleep(time.Minute)
		}, answers{
			Over: "Yes: it ended 1 min ago.", Host: "All hosts: the transport had ended", Transport: "Yes: the transport had ended, and a fresh one took over.",
			Long: "20.0 s, from 00:00:00 to 00:00:20 UTC.", Next: "Nothing to do.",
		}},
		{"two hosts are down, of which one has had its trial", func(r *rig) {
			r.trip("http://other.test/")
			r.get("http://other.test/")
			time.Sleep(3 * time.Second)
			r.trip(api)
			time.Sleep(time.Second)
		}, answers{
			Over: "No: down for 4 s.", Host: "http://other.test:80, https://api.test:443",
			Transport: "[http://other.test:80] No: a fresh transport failed, too (connection_refused). The upstream, or the way to it, is down. " +
				"[https://api.test:443] Not known yet: no fresh transport has been proven or rejected.",
			Long: "4.0 s so far, since 00:00:00 UTC.",
			Next: "Next attempt in 6 s. Look at the upstream and the network: a restart of this process does not help.",
		}},
		{"two hosts were down at the same time", func(r *rig) {
			r.trip("http://other.test/")
			r.get("http://other.test/")
			time.Sleep(3 * time.Second)
			r.trip(api)
			time.Sleep(8 * time.Second)
			r.get(api)
			time.Sleep(time.Second)
			r.down.Store(false)
			for range 2 {
				require.True(r.t, r.get("http://other.test/"))
			}
			time.Sleep(8 * time.Second)
			for range 2 {
				require.True(r.t, r.get(api))
			}
			time.Sleep(5 * time.Minute)
		}, answers{
			Over: "Yes: it ended 5 min ago.", Host: "http://other.test:80, https://api.test:443",
			Transport: "No: fresh transports failed, too. The upstream, or the way to it, was down.",
			Long:      "20.0 s, from 00:00:00 to 00:00:20 UTC.", Next: "Nothing to do.",
		}},
		{"two hosts were down, one long after the other", func(r *rig) {
			for _, url := range []string{"http://other.test/", api} {
				r.trip(url)
				r.get(url)
				time.Sleep(2 * time.Second)
				r.down.Store(false)
				r.get(url)
				r.get(url)
				time.Sleep(time.Hour)
			}
		}, answers{
			Over: "Yes: it ended 1 h ago.", Host: "https://api.test:443",
			Transport: "No: fresh transports failed, too. The upstream, or the way to it, was down.",
			Long:      "2.0 s, from 01:00:02 to 01:00:04 UTC.", Next: "Nothing to do.",
		}},
		{"the upstream keeps going away", func(r *rig) {
			for range 4 {
				r.trip(api)
				r.get(api)
				time.Sleep(10 * time.Second)
				r.down.Store(false)
				r.get(api)
				require.True(r.t, r.get(api))
				time.Sleep(10 * time.Minute)
			}
		}, answers{
			Over: "Yes: it ended 10 min ago. It keeps coming back: 4 outages in the last hour.", Host: "https://api.test:443",
			Transport: "No: fresh transports failed, too. The upstream, or the way to it, was down.",
			Long:      "10.0 s, from 00:30:30 to 00:30:40 UTC.",
			Next:      "Nothing right now. Look at the upstream and the network: a restart of this process does not help.",
		}},
		{"the upstream has gone away again", func(r *rig) {
			for range 3 {
				r.down.Store(false)
				r.get(api)
				r.get(api)
				time.Sleep(25 * time.Minute)
				r.trip(api)
				r.get(api)
				time.Sleep(4 * time.Second)
			}
		}, answers{
			Over: "No: down for 4 s. It keeps coming back: 3 outages in the last hour.", Host: "https://api.test:443",
			Transport: "No: a fresh transport failed, too (connection_refused). The upstream, or the way to it, is down.",
			Long:      "4.0 s so far, since 01:15:08 UTC.",
			Next:      "Next attempt in 6 s. Look at the upstream and the network: a restart of this process does not help.",
		}},
		{"transports keep dying", func(r *rig) {
			for range 3 {
				current := r.rt.WrappedRoundTripper().(*transport)
				r.trip(api)
				r.down.Store(false)
				current.dead.Store(true)
				r.get(api)
				r.get(api)
				require.True(r.t, r.get(api))
				time.Sleep(10 * time.Minute)
			}
		}, answers{
			Over: "Yes: it ended 10 min ago. It keeps coming back: 3 outages in the last hour.", Host: "https://api.test:443",
			Transport: "Yes: a fresh transport took over, and requests are answered.",
			Long:      "0 s, from 00:20:00 to 00:20:00 UTC.",
			Next:      "Nothing right now. Look at what ends the connections: a tunnel, or an idle timeout of a NAT or load balancer.",
		}},
		{"many hosts were down once", func(r *rig) {
			for _, host := range []string{"a", "b", "c", "d"} {
				r.trip("http://" + host + ".test/")
			}
			r.get("http://a.test/")
			time.Sleep(2 * time.Second)
			r.down.Store(false)
			for _, host := range []string{"a", "b", "c", "d"} {
				r.get("http://" + host + ".test/")
				require.True(r.t, r.get("http://"+host+".test/"))
			}
			time.Sleep(time.Minute)
		}, answers{
			Over: "Yes: it ended 1 min ago.", Host: "http://a.test:80, http://b.test:80, http://c.test:80, and 1 other",
			Transport: "[http://a.test:80] No: fresh transports failed, too. The upstream, or the way to it, was down. " +
				"[http://b.test:80, http://c.test:80, http://d.test:80] No: the transport in service answered again by itself.",
			Long: "2.0 s, from 00:00:00 to 00:00:02 UTC.", Next: "Nothing to do.",
		}},
		{"requests wait without an answer", func(r *rig) {
			r.first.silent.Store(true)
			for range 2 {
				go r.get(api)
				time.Sleep(500 * time.Millisecond)
			}
			time.Sleep(7 * time.Second)
		}, answers{
			Over: "Nothing is down yet, but 2 requests are late.", Host: "https://api.test:443",
			Transport: "Not known yet: a slow upstream looks the same.",
			Long:      "The longest wait is 8.0 s so far.", Next: "If no answer comes, a fresh transport will be tried.",
		}},
		{"silence", func(r *rig) {
			r.first.silent.Store(true)
			for range 3 {
				go r.get(api)
				time.Sleep(time.Second)
			}
			time.Sleep(6 * time.Second)
		}, answers{
			Over: "No: down for 4 s.", Host: "https://api.test:443", Transport: "Not known yet: no fresh transport has been proven or rejected.",
			Long: "4.0 s so far, since 00:00:05 UTC. Before that, requests waited without an answer.", Next: "The next request makes the next attempt.",
		}},
		{"silence is over", func(r *rig) {
			r.first.silent.Store(true)
			for range 3 {
				go r.get(api)
				time.Sleep(time.Second)
			}
			time.Sleep(6500 * time.Millisecond) // between two looks of those that are silent
			r.first.silent.Store(false)
			time.Sleep(61500 * time.Millisecond)
		}, answers{
			Over: "Yes: it ended 1 min 1 s ago.", Host: "https://api.test:443", Transport: "No: the transport in service answered again by itself.",
			Long: "5.0 s, from 00:00:05 to 00:00:10 UTC. Before that, requests waited without an answer.", Next: "Nothing to do.",
		}},
		{"nobody asks any more", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(4 * time.Second)
			require.False(r.t, r.get(api))
			time.Sleep(2 * time.Hour)
		}, answers{
			Over: "Not known: the last request failed, 2 h ago.", Host: "https://api.test:443",
			Transport: "No: a fresh transport failed, too (connection_refused). The upstream, or the way to it, was down.",
			Long:      "At least 4.0 s, from 00:00:00 to 00:00:04 UTC.", Next: "The next request will show whether the outage is over.",
		}},
		{"replaced by hand", func(r *rig) {
			time.Sleep(time.Minute)
			require.NoError(r.t, r.rt.Recreate(r.t.Context()))
		}, answers{
			Over: "Nothing has been down since the start.", Host: "None", Transport: "No.", Long: "Not at all.", Next: "Nothing to do.",
		}},
		{"many hosts", func(r *rig) {
			for _, host := range []string{"a", "b", "c", "d", "e"} {
				r.trip("http://" + host + ".test/")
				time.Sleep(time.Second)
			}
		}, answers{
			Over: "No: down for 5 s.", Host: "http://a.test:80, http://b.test:80, http://c.test:80, and 2 others",
			Transport: "Not known yet: no fresh transport has been proven or rejected.",
			Long:      "5.0 s so far, since 00:00:00 UTC.", Next: "The next request makes the next attempt.",
		}},
		{"closed while the upstream was down", func(r *rig) {
			r.trip(api)
			r.get(api)
			time.Sleep(time.Second)
			require.NoError(r.t, r.rt.Close())
		}, answers{
			Over: "The client is closed.", Host: "https://api.test:443",
			Transport: "No: a fresh transport failed, too (connection_refused). The upstream, or the way to it, was down.",
			Long:      "1.0 s, from 00:00:00 to 00:00:01 UTC.", Next: "Nothing: requests are refused.",
		}},
		{"closed", func(r *rig) {
			r.trip(api)
			time.Sleep(time.Second)
			require.NoError(r.t, r.rt.Close())
		}, answers{
			Over: "The client is closed.", Host: "https://api.test:443", Transport: "Unknown: the client was closed before a verdict.",
			Long: "1.0 s, from 00:00:00 to 00:00:01 UTC.", Next: "Nothing: requests are refused.",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "llm", patienceOf5s)
				tc.make(r)
				w := ask(t, http.MethodGet, "?format=text", r.rt)
				require.Equal(t, http.StatusOK, w.Code)
				assert.Equal(t, "text/plain; charset=utf-8", w.Header().Get("Content-Type"))
				text := w.Body.String()
				assert.Equal(t, tc.want, answered(text))
				page := look(t, r.rt)
				shown := page.answers()
				if h := r.rt.Health(); len(h.OpenOutages)+len(h.EndedOutages)+len(h.Late) == 0 {
					assert.Empty(t, shown, "no answers where there is nothing to ask")
				} else {
					assert.Equal(t, []string{tc.want.Over, tc.want.Host, tc.want.Transport, tc.want.Long, tc.want.Next}, shown)
				}
				copied := page.all("pre", "ticket")
				require.Len(t, copied, 1)
				assert.Contains(t, text, copied[0].FirstChild.Data, "the ticket's text is the same")
				r.first.silent.Store(false)
				time.Sleep(time.Minute) // what is under way ends
			})
		})
	}
}

func TestTextHasWhatATicketNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := sdktrace.NewTracerProvider()
		r := newRig(t, "llm", respawn.WithTracerProvider(spans))
		for _, body := range badNight(t, r) {
			defer body.Close()
		}
		text := ask(t, http.MethodGet, "?format=text", r.rt).Body.String()
		hostname, err := os.Hostname()
		require.NoError(t, err)
		assert.Contains(t, text, "respawn "+respawn.Version+" on "+hostname)
		assert.Contains(t, text, "llm: healthy\n")
		assert.Equal(t, "none of the hosts", said(text, "failing"))
		assert.Equal(t, "generation 2 for 3.0 s; 1 promotion, 1 rejection", said(text, "transport  "))
		assert.Equal(t, "10 in flight, 10 of them draining; 5 failures, 0 sent again", said(text, "requests"))
		assert.Equal(t, "18.5 s, on "+hostname, said(text, "up"))
		assert.Equal(t, "connection_refused, https://api.test:443, 00:00:00 UTC", said(text, "last rejection"))
		assert.Equal(t, "https://api.test:443: outage of 15.5 s, from 00:00:00 to 00:00:15 (connection_refused), ended by a fresh transport", said(text, "outages"))
		assert.Equal(t, "threshold 3, stalls 3 over 1 s, patience 5 s, recreate timeout 10 s, replay never, fallback none, wait for ready none, max age none, drain timeout none", said(text, "options"))
		assert.Equal(t, r.rt.Recreations()[1].TraceID, said(text, "trace"))
	})
	assert.Contains(t, ask(t, http.MethodGet, "?format=text").Body.String(), "No client was given to this page.")
}

// Where it is said how, a trace is a link.
func TestTracesAreLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm", respawn.WithTracerProvider(sdktrace.NewTracerProvider()))
		r.trip(api)
		r.recover(api)
		id := r.rt.Recreations()[0].TraceID
		want := "https://jaeger.test/trace/" + id + "?uiFind=respawn"
		h := DebugHandler(r.rt)
		linked := h.WithTraceURL("https://jaeger.test/trace/{id}?uiFind=respawn")
		w := serve(t, linked, http.MethodGet, "")
		var links []string
		for _, a := range parse(t, w.Body.String()).all("a", "") {
			if strings.HasPrefix(a.attr("href"), "https") {
				links = append(links, a.attr("href"))
			}
		}
		assert.Equal(t, []string{want, want}, links, "of the answers, and of the recreation")
		assert.Equal(t, want, said(serve(t, linked, http.MethodGet, "?format=text").Body.String(), "trace"))
		assert.NotContains(t, serve(t, h, http.MethodGet, "").Body.String(), "jaeger", "the handler without it is as it was")
	})
	for _, url := range []string{"", "https://jaeger.test/trace/", "javascript:alert({id})", "jaeger.test/{id}"} {
		assert.Panics(t, func() { DebugHandler().WithTraceURL(url) }, url)
	}
}

// Who is late is listed, with what was learned of how long an answer may take.
func TestWhoIsLateIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm", patienceOf5s)
		require.Empty(t, look(t, r.rt).all("table", "late"))
		r.first.silent.Store(true)
		for _, url := range []string{api, "http://other.test/", api} {
			go r.get(url)
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		assert.Equal(t, [][]string{{"http://other.test:80", "1", "6.0 s", "5.0 s"}, {"https://api.test:443", "2", "6.5 s", "5.0 s"}}, look(t, r.rt).rows("late"))
		text := ask(t, http.MethodGet, "?format=text", r.rt).Body.String()
		page := look(t, r.rt)
		assert.Equal(t, "healthy", page.all("span", "state")[0].text())
		assert.Equal(t, "Serving, but 3 requests are late.", page.all("p", "summary")[0].text(), "the summary knows what the answers know")
		many := look(t, newRig(t, "a").rt, newRig(t, "b").rt, newRig(t, "c").rt, r.rt)
		assert.Len(t, many.all("details", "folded"), 3, "a client whose requests are late is not folded")
		assert.Equal(t, "https://api.test:443: 2 requests, the longest for 6.5 s; patience 5.0 s", said(text, "late"))
		assert.Contains(t, text, "  http://other.test:80: 1 request, the longest for 6.0 s; patience 5.0 s\n")
		assert.Equal(t, "http://other.test:80, https://api.test:443", said(text, "which host?"))
		r.first.silent.Store(false)
		time.Sleep(time.Minute)
		require.Empty(t, look(t, r.rt).all("table", "late"))
	})
}

// What lasts is hatched, and reaches to the end of the axis, which is now.
func TestAnOpenOutageReachesToNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm")
		r.trip(api)
		r.get(api)
		time.Sleep(14 * time.Second)
		page := look(t, r.rt)
		plot := page.all("svg", "plot")[0]
		bars := plot.all("rect", "lasting")
		require.Len(t, bars, 1)
		assert.Empty(t, plot.all("rect", "outage"))
		assert.Equal(t, "url(#hatched)", bars[0].attr("fill"))
		assert.Equal(t, "https://api.test:443: down for 14.0 s, since 00:00:00", plot.titles("rect", "lasting")[0])
		var axis []string
		for _, text := range plot.all("text", "") {
			axis = append(axis, text.text())
		}
		assert.Equal(t, []string{"+5 s", "+10 s", "14.0 s", "now", "00:00:00"}, axis)
		assert.Equal(t, [][]string{{"https://api.test:443", "14.0 s", "00:00:00", "now", "connection_refused", "still down"}}, page.rows("outages"))
		assert.Contains(t, facts(page), "Failing 1 host of 1 that has failed since the start")
		assert.Contains(t, facts(page), "Next attempt next request starts it")
	})
}

// Of many clients those that are well take a line each, which tells of the past.
func TestHealthyClientsFoldAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		was, ill, well, other := newRig(t, "was"), newRig(t, "ill"), newRig(t, "well"), newRig(t, "other")
		was.trip(api)
		was.recover(api)
		time.Sleep(3 * time.Minute)
		ill.trip(api)
		folded := func(page node) (lines []string) {
			for _, d := range page.all("details", "folded") {
				lines = append(lines, d.all("summary", "")[0].text())
			}
			return lines
		}
		page := look(t, was.rt, ill.rt, well.rt, other.rt)
		assert.Equal(t, []string{"was healthy, was down for 0 s, 3 min ago", "well healthy, nothing has been down", "other healthy, nothing has been down"}, folded(page))
		assert.Len(t, page.all("section", ""), 4, "all is there, once unfolded")
		assert.Empty(t, folded(look(t, was.rt, ill.rt, well.rt)), "three are not many")
	})
}

func TestPageNamesItsHostAndOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "llm", respawn.WithMaxAge(24*time.Hour), respawn.WithStallThreshold(0, 0), respawn.WithFallback(&transport{down: &newRig(t, "fallback").down}))
		time.Sleep(3*time.Hour + time.Minute)
		page := look(t, r.rt)
		hostname, err := os.Hostname()
		require.NoError(t, err)
		assert.Equal(t, "respawn "+respawn.Version+" on "+hostname+", up 3 h 1 min", page.all("h1", "")[0].text())
		assert.Equal(t, "threshold 3 stalls off patience off recreate timeout 10 s replay never fallback yes wait for ready none max age 1 d drain timeout none",
			page.all("ul", "options")[0].text())
	})
}
