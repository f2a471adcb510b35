package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// One lost connection with 500 streams on it is one failure: none of them began
// after the failure that was counted before it.
func TestOneLostConnectionIsOneFailureHoweverManyStreamsItHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/stream" {
				<-release
				return nil, errors.New("http2: client connection lost")
			}
			return testkit.Answer(req)
		})
		f := stubs()
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayNever))
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/stream"); assert.Error(t, err) })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		require.Len(t, rt.Health().Streaks, 1)
		assert.Equal(t, 1, rt.Health().Streaks[0].Failures)
		assert.Zero(t, f.Calls.Load())
	})
}

// What still comes from a generation that was replaced is no failure of the one in
// service.
func TestFailuresOfAReplacedTransportDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("http2: client connection lost")
		release := make(chan struct{})
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/stream" {
				<-release
				return nil, lost
			}
			return nil, testkit.Refused()
		})
		f := stubs()
		rt := start(t, base, respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayNever))

		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/stream"); assert.Same(t, lost, err) })
		}
		synctest.Wait()
		for range 3 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.Error(t, err)
		}
		// What may never be sent again is tried first, and its control is the next one.
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.EqualValues(t, 1, rt.Health().Generation)
		_, err = get(t.Context(), rt, "http://a.test/")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.EqualValues(t, 2, rt.Health().Generation)

		close(release) // the old generation's 500 streams fail only now
		wg.Wait()
		assert.Empty(t, rt.Health().Streaks)
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// A late answer of a generation that was replaced says nothing about the one in
// service.
func TestAnswersOfAReplacedTransportEndNoStreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &testkit.Stub{Delay: time.Minute}
		rt := start(t, base, respawn.WithReplay(respawn.ReplayNever),
			respawn.WithFactory(testkit.Builds(func() http.RoundTripper { return testkit.Dead(net.ErrClosed) }).Make))
		var wg sync.WaitGroup
		wg.Go(func() { _, err := get(t.Context(), rt, "http://a.test/"); assert.NoError(t, err) })
		synctest.Wait()
		require.NoError(t, rt.Recreate(t.Context())) // untried: no request comes
		for range 2 {
			_, err := get(t.Context(), rt, "http://a.test/")
			require.ErrorIs(t, err, net.ErrClosed)
		}
		wg.Wait() // the answer of the first generation
		require.Len(t, rt.Health().Streaks, 1)
		assert.Equal(t, 2, rt.Health().Streaks[0].Failures)
	})
}

// One authority that failed keeps nobody else off the healthy path, and itself no
// longer than five minutes, asked or not.
func TestSuspicionIsOfOneAuthorityAndForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var paths []bool
		var down atomic.Bool
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			paths = append(paths, onHealthyPath(req))
			if req.URL.Host == "gone.test" && down.Load() {
				return nil, testkit.Refused()
			}
			return testkit.Answer(req)
		})
		rt := start(t, base, respawn.WithThreshold(10), respawn.WithFactory(stubs().Make))
		ask := func(host string) bool {
			paths = nil
			_, _ = get(t.Context(), rt, "http://"+host+"/")
			return paths[0] // later ones are its replays
		}
		down.Store(true)
		require.True(t, ask("gone.test"))
		require.False(t, ask("gone.test"))
		assert.True(t, ask("well.test"))
		require.Len(t, rt.Health().Streaks, 1)

		down.Store(false)
		time.Sleep(5*time.Minute - 1)
		require.Len(t, rt.Health().Streaks, 1)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Empty(t, rt.Health().Streaks)
		assert.True(t, ask("gone.test"))
	})
}

// A flood of invented names cannot push a real outage out of the table.
func TestAFloodOfNamesHidesNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := testkit.Builds(func() http.RoundTripper { return testkit.Dead(testkit.Refused()) })
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make), respawn.WithReplay(respawn.ReplayNever), every(time.Hour))
		for i := range 5000 {
			_, _ = get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
			if i%100 == 0 {
				_, _ = get(t.Context(), rt, "http://real.test/")
			}
		}
		for _, s := range rt.Health().Streaks {
			if s.Authority == "http://real.test:80" {
				assert.True(t, s.Tripped)
				return
			}
		}
		assert.Fail(t, "the outage was forgotten")
	})
}

// Among equals the oldest suspicion makes room: 256 authorities are remembered.
func TestTheOldestSuspicionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 256
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithReplay(respawn.ReplayNever), respawn.WithFactory(stubs().Make))
		for i := range most + 1 {
			_, _ = get(t.Context(), rt, fmt.Sprintf("http://%d.test/", i))
			time.Sleep(time.Second)
		}
		left := map[string]bool{}
		for _, s := range rt.Health().Streaks {
			left[s.Authority] = true
		}
		assert.Len(t, left, most)
		assert.False(t, left["http://0.test:80"])
		assert.True(t, left[fmt.Sprintf("http://%d.test:80", most)])
	})
}

// slowBody makes a request whose body takes a second to be fetched from the given time on, the
// first being 1.
func slowBody(t testing.TB, method string, from int64) *http.Request {
	req := request(t.Context(), method, "http://a.test/", strings.NewReader("body"))
	fetch := req.GetBody
	var fetched atomic.Int64
	req.GetBody = func() (io.ReadCloser, error) {
		if fetched.Add(1) >= from {
			time.Sleep(time.Second)
		}
		return fetch()
	}
	return req
}

// A request whose body is still being fetched is not with its transport yet, and does not
// speak for it: what fails meanwhile trips its authority, and is answered.
func TestRequestsThatNoTransportHasYetDoNotSpeakForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.Dead(testkit.Refused())
		base.Delay = time.Millisecond // those that begin at once are one event
		f := stubs()
		rt := start(t, base, respawn.WithFactory(f.Make))
		var wg sync.WaitGroup
		for range 20 {
			put := slowBody(t, http.MethodPut, 1)
			wg.Go(func() {
				resp, err := rt.RoundTrip(put)
				if assert.NoError(t, err) {
					assert.NoError(t, resp.Body.Close())
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		require.Len(t, rt.Health().Streaks, 1)
		require.Equal(t, 1, rt.Health().Streaks[0].Failures)
		began := time.Now()
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		assert.Less(t, time.Since(began), 10*time.Millisecond, "it waits for nobody's body")
		wg.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// What took long to be fetched did not take long to fail: the trial beside it is no reason to
// let it go unanswered.
func TestTheTimeThatABodyTakesIsNotTheTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stubs()
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make))
		var wg sync.WaitGroup
		for range 20 {
			put := slowBody(t, http.MethodPut, 1)
			wg.Go(func() {
				resp, err := rt.RoundTrip(put)
				if assert.NoError(t, err) {
					assert.NoError(t, resp.Body.Close())
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, f.Calls.Load())
	})
}

// A body that cannot be fetched says nothing for the transport either.
func TestARequestThatNoTransportHadDoesNotSpeakForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := testkit.Dead(testkit.Refused())
		base.Delay = time.Millisecond // those that begin at once are one event
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		var wg sync.WaitGroup
		for range 20 {
			put := request(t.Context(), http.MethodPut, "http://a.test/", strings.NewReader("body"))
			put.GetBody = func() (io.ReadCloser, error) {
				time.Sleep(100 * time.Millisecond)
				return nil, errors.New("no body")
			}
			wg.Go(func() {
				_, err := rt.RoundTrip(put)
				assert.Error(t, err)
			})
		}
		wg.Wait()
		_, err := get(t.Context(), rt, "http://a.test/")
		assert.NoError(t, err)
	})
}

// A trial whose body takes longer to be fetched than trials may take is answered all the same: the
// candidate has not had it before.
func TestATrialHasItsTimeFromWhenTheCandidateHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := stubs()
		rt := start(t, testkit.Dead(testkit.Refused()), respawn.WithFactory(f.Make), respawn.WithThreshold(1))
		put := request(t.Context(), http.MethodPut, "http://a.test/", strings.NewReader("body"))
		fetch := put.GetBody
		put.GetBody = func() (io.ReadCloser, error) {
			time.Sleep(11 * time.Second) // WithRecreateTimeout is 10 s
			return fetch()
		}
		resp, err := rt.RoundTrip(put)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.EqualValues(t, 1, f.Calls.Load())
		assert.EqualValues(t, 2, rt.Health().Generation)
	})
}

// A POST whose body is still being fetched when its transport is replaced is sent on the fresh one, and
// nothing of it on the other.
func TestWhatNoTransportHasYetIsSentOnTheFreshOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var posts, fetched, closed atomic.Int64
		base := testkit.RoundTripperFunc(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				posts.Add(1)
			}
			if req.Body != nil {
				req.Body.Close()
			}
			return nil, testkit.Refused()
		})
		rt := start(t, base, respawn.WithFactory(stubs().Make))
		post := request(t.Context(), http.MethodPost, "http://a.test/", strings.NewReader("body"))
		post.GetBody = func() (io.ReadCloser, error) {
			fetched.Add(1)
			time.Sleep(3 * time.Second)
			return closeCounter{strings.NewReader("body"), &closed}, nil
		}
		done := make(chan error)
		go func() {
			_, err := rt.RoundTrip(post)
			done <- err
		}()
		time.Sleep(time.Second)
		_, err := get(t.Context(), rt, "http://a.test/")
		require.NoError(t, err)
		require.EqualValues(t, 2, rt.Health().Generation)
		assert.NoError(t, <-done)
		assert.EqualValues(t, 1, posts.Load(), "where it failed at first")
		assert.EqualValues(t, 2, fetched.Load())
		synctest.Wait()
		assert.Equal(t, fetched.Load(), closed.Load())
	})
}
