package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/respawnhttp/respawn"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A script says what happens in a show, and when.
type script struct {
	fault    fault
	length   time.Duration // of the load
	faultAt  time.Duration
	healAt   time.Duration // of a fault that passes
	every    time.Duration // each client sends one request in that time
	deadline time.Duration // of each request
	tick     time.Duration // of the display
}

// callersDeadline is that of each of the show's requests, as in README's first
// snippet: none of them passes before a connection that goes dark is noticed.
const callersDeadline = 30 * time.Second

// lastWait is how long the show waits at its end for what has no answer yet.
const lastWait = 500 * time.Millisecond

// errInterrupted comes with the figures up to then.
var errInterrupted = errors.New("interrupted")

// fullScript is the show of 12 s that the program gives.
func fullScript(f fault) script {
	return script{
		fault:    f,
		length:   12 * time.Second,
		faultAt:  3 * time.Second,
		healAt:   6 * time.Second,
		every:    50 * time.Millisecond,
		deadline: callersDeadline,
		tick:     100 * time.Millisecond,
	}
}

func (s script) ticks() int { return int(s.length / s.tick) }

// wordPace is the embedded upstream's in the show: an answer of eight words
// takes some 40 ms.
const wordPace = 5 * time.Millisecond

// A lane is one client of the show, with a way to the upstream of its own.
type lane struct {
	link   *link
	client *http.Client
	ledger ledger
}

// show plays the script against an upstream, once through a plain http.Client
// and once through respawn, and draws both on the screen while it lasts. If ctx
// ends first it returns what there was until then, which is nothing before the play has
// begun, with errInterrupted.
func show(ctx context.Context, s script, screen screen, stderr io.Writer) (*incident, error) {
	in, err := stage(ctx, s, screen, stderr)
	if in == nil && ctx.Err() != nil {
		return nil, errInterrupted // whatever it was that did not get ready
	}
	return in, err
}

// stage sets up what the show needs, and plays it.
func stage(ctx context.Context, s script, screen screen, stderr io.Writer) (*incident, error) {
	memory := tracetest.NewInMemoryExporter()
	t, err := newTelemetry(ctx, summary{logs: screen.logs()}, sdktrace.NewSimpleSpanProcessor(memory))
	if err != nil {
		return nil, err
	}
	defer flush(t, stderr)
	u, err := newUpstream(wordPace)
	if err != nil {
		return nil, err
	}
	defer u.close()

	plain, respawned := &lane{}, &lane{}
	for _, l := range []*lane{plain, respawned} {
		if l.link, err = newLink(ctx, u, sessionConfig{}); err != nil {
			return nil, err
		}
	}
	plain.client = &http.Client{Transport: traced(plain.link.sessions.next(), t)}
	defer plain.client.CloseIdleConnections()
	rt, err := recovering("show", respawned.link.sessions, t, respawn.WithBackOff(steadyBackOff))
	if err != nil {
		return nil, err
	}
	defer rt.Close()
	respawned.client = &http.Client{Transport: traced(rt, t)}

	for _, l := range []*lane{plain, respawned} {
		if err := l.warmUp(ctx); err != nil {
			return nil, err
		}
	}
	played, err := play(ctx, s, screen, plain, respawned)
	if err != nil && !errors.Is(err, errInterrupted) {
		return nil, err
	}
	s.length = played

	health := rt.Health()
	in := &incident{
		Fault:       s.fault,
		Seconds:     s.length.Seconds(),
		FaultAt:     s.faultAt.Seconds(),
		Plain:       plain.figures(s, err != nil),
		Respawn:     respawned.figures(s, err != nil),
		Promotions:  health.Promotions,
		Rejections:  health.Rejections,
		Recreations: recreationsOf(memory.GetSpans().Snapshots()),
	}
	in.Plain.Transports = 1
	in.Respawn.Transports = 1 + health.Promotions + health.Rejections // the factory never fails here
	if s.fault.passes() && s.healAt < s.length {
		in.HealedAt = new(s.healAt.Seconds())
	}
	return in, err
}

// steadyBackOff is the default policy without its jitter, with which no two shows
// were the same.
func steadyBackOff() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(500*time.Millisecond),
		backoff.WithMultiplier(1.5),
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxInterval(30*time.Second),
		backoff.WithMaxElapsedTime(0),
	)
}

// play puts the same load through both lanes, breaks them at the same moment,
// and returns when the last request has ended, with how much of the script that
// was.
func play(ctx context.Context, s script, screen screen, plain, respawned *lane) (time.Duration, error) {
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var loads sync.WaitGroup
	defer loads.Wait() // after cancel
	defer cancel()
	lanes := []*lane{plain, respawned}
	for _, l := range lanes {
		loads.Go(func() { l.load(ctx, s, start) })
	}

	screen.begin(s)
	defer screen.end()
	for i := 1; i <= s.ticks(); i++ {
		if !sleepUntil(ctx, start.Add(time.Duration(i)*s.tick)) {
			return time.Duration(i-1) * s.tick, errInterrupted
		}
		now := time.Duration(i) * s.tick
		var views [2][]tick
		for k, l := range lanes {
			views[k] = ticksOf(l.ledger.snapshot(), s.tick, s.ticks(), now)
		}
		screen.draw(now, views[0], views[1])
		switch {
		case s.comesNow(s.faultAt, now):
			screen.note(now, "fault "+string(s.fault)+": "+s.fault.headline())
			for _, l := range lanes {
				l.link.inject(s.fault)
			}
		case s.fault.passes() && s.comesNow(s.healAt, now):
			screen.note(now, "the upstream is back")
			for _, l := range lanes {
				if err := l.link.heal(ctx); err != nil {
					return now, err
				}
			}
		}
	}
	time.AfterFunc(lastWait, cancel) // what waits longer has lost
	loads.Wait()
	return s.length, nil
}

// comesNow reports whether an event is due in the tick that ends now.
func (s script) comesNow(event, now time.Duration) bool {
	return event > now-s.tick && event <= now
}

// sleepUntil returns false if ctx ends first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	select {
	case <-time.After(time.Until(t)):
		return true
	case <-ctx.Done():
		return false
	}
}

// warmUp makes the one connection that the lane needs. Without it, a slow
// machine would have the first requests dial one each.
func (l *lane) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := ask(ctx, l.client, l.link.url()); err != nil {
		return fmt.Errorf("the embedded upstream does not answer: %w", err)
	}
	return nil
}

// load sends requests by the clock, whatever becomes of them, and returns when
// all have ended. It goes half a beat off, so that none is sent at the very
// moment of a fault, which could go either way.
func (l *lane) load(ctx context.Context, s script, start time.Time) {
	var asks sync.WaitGroup
	defer asks.Wait()
	for at := s.every / 2; at < s.length; at += s.every {
		if !sleepUntil(ctx, start.Add(at)) {
			return
		}
		asks.Go(func() {
			done := l.ledger.open(time.Since(start))
			ctx, cancel := context.WithTimeout(ctx, s.deadline)
			defer cancel()
			err := ask(ctx, l.client, l.link.url())
			done(time.Since(start), err)
		})
	}
}

// ask has one chat completion streamed to it, to its last word.
func ask(ctx context.Context, client *http.Client, url string) error {
	question := []byte(`{"model":"embedded","stream":true,"messages":[{"role":"user","content":"How long does it take?"}]}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(question))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the upstream answered %s", resp.Status)
	}
	done := false
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() { // to the end: a body closed before it costs the stream a reset
		done = done || lines.Text() == "data: [DONE]"
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the stream broke off: %w", err)
	}
	if !done {
		return errors.New("the stream ended before its last word")
	}
	return nil
}

// figures are those of a script that was played, or interrupted at its end. What
// was in flight then has not failed, and has not been answered.
func (l *lane) figures(s script, interrupted bool) figures {
	records := l.ledger.snapshot()
	if interrupted {
		records = slices.DeleteFunc(records, func(r record) bool { return r.waiting() || r.ended > s.length })
	}
	f := sumUp(records, s.faultAt, s.length)
	f.Connections = l.link.door.accepted.Load()
	f.ticks = ticksOf(records, s.tick, s.ticks(), s.length)
	return f
}
