package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/respawnhttp/respawn"
)

// A patientCase is a kind of request, over the stub, and of its caller.
type patientCase struct {
	method string
	caller string
	ctx    context.Context
}

// The callers that the report looks for.
const (
	callerNear  = "a deadline that is near"
	callerFar   = "30 s to live or more"
	callerNever = "no deadline"
)

func patientCases() []patientCase {
	var cases []patientCase
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		cases = append(cases,
			patientCase{method, callerNear, hurried{context.Background()}},
			patientCase{method, callerFar, leisurely{context.Background()}},
			patientCase{method, callerNever, context.Background()})
	}
	return cases
}

// leisurely is the context of callers whose deadline is far.
type leisurely struct{ context.Context }

var farDeadline = time.Now().Add(1000 * time.Hour)

func (leisurely) Deadline() (time.Time, bool) { return farDeadline, true }

// A patientResult is what a case costs: bare, with respawn, and with respawn where
// patience is off.
type patientResult struct {
	patientCase
	samples map[string][]sample
}

const nameOff = "respawn, WithPatience(0)"

type patienceResult struct {
	cases   []patientResult
	waiting int           // who wait at once, and
	sweep   time.Duration // what a patience costs them all in CPU time
}

// runPatience measures what it costs to accompany requests.
func runPatience(rnd *rand.Rand, e effort) (r patienceResult, err error) {
	for _, c := range patientCases() {
		base := stub{http.NoBody}
		rt, off := newRespawn(base, stubFactory(base)), newRespawnWith(base, stubFactory(base), respawn.WithPatience(0))
		defer closeTransport(rt)
		defer closeTransport(off)
		var contenders []contender
		for _, row := range []struct {
			name string
			rt   http.RoundTripper
		}{{nameBare, base}, {nameAA, base}, {nameWatch, newPlainWatch(base)}, {nameRespawn, rt}, {nameOff, off}} {
			one, err := c.contender(e.slice, row.name, row.rt)
			if err != nil {
				return r, err
			}
			contenders = append(contenders, one)
		}
		samples, err := interleave(rnd, e.rounds, contenders)
		if err != nil {
			return r, err
		}
		r.cases = append(r.cases, patientResult{c, samples})
	}
	r.waiting = e.waiting
	r.sweep, err = runSweep(e)
	return r, err
}

func (c patientCase) contender(slice time.Duration, name string, rt http.RoundTripper) (contender, error) {
	req := stubRequest("http://stub.test/").WithContext(c.ctx)
	req.Method = c.method
	reqs := []*http.Request{req}
	return drives(slice, name, rt, reqs)
}

// runSweep measures the CPU time that a patience takes while many wait for one
// authority, unanswered: to look at them all, and to tell some of them so. They are
// POSTs, of which there are no copies, and what would trip is set so high that nothing
// does.
func runSweep(e effort) (time.Duration, error) {
	const patience = 500 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	var sent, waiting sync.WaitGroup
	var failed atomic.Pointer[error]
	rt := newRespawnWith(roundTripperFunc(func(req *http.Request) (*http.Response, error) {
		sent.Done()
		<-req.Context().Done()
		return nil, req.Context().Err()
	}), stubFactory(stub{http.NoBody}), respawn.WithPatience(patience), respawn.WithStallThreshold(1<<30, time.Second))
	defer closeTransport(rt)
	sent.Add(e.waiting)
	for range e.waiting {
		waiting.Go(func() {
			req := get(ctx, "http://stub.test/")
			req.Method, req.Body = http.MethodPost, io.NopCloser(strings.NewReader("once"))
			if _, err := rt.RoundTrip(req); err == nil || ctx.Err() == nil {
				failed.Store(&err)
			}
		})
	}
	sent.Wait()
	time.Sleep(2 * patience) // what so many requests leave behind is over
	const patiences = 4
	begin := cpuTime()
	time.Sleep(patiences * patience)
	took := cpuTime() - begin
	cancel()
	waiting.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return took / patiences, nil
}
