package respawntest

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Goroutines inherit the profiler's labels of those that start them, so that what a
// transport has started can be told from all that goes on beside it, parallel tests too.
const labelKey = "respawntest"

var labels atomic.Int64

func newLabel() string { return strconv.FormatInt(labels.Add(1), 10) }

// labeled calls f such that all that it starts carries the label. The context has it,
// too, from which [pprof.Do] would otherwise take a goroutine's labels back.
func labeled(ctx context.Context, label string, f func(context.Context)) {
	ctx = pprof.WithLabels(ctx, pprof.Labels(labelKey, label))
	pprof.SetGoroutineLabels(ctx)
	f(ctx)
}

// running returns the stacks of the goroutines that carry the label.
func running(label string) []string {
	var profile bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&profile, 1) // a Buffer takes everything
	var stacks []string
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(stack, strconv.Quote(labelKey)+":"+strconv.Quote(label)) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// remaining returns what running does, once everything that can end has had time to.
func remaining(label string) []string {
	stacks := running(label)
	pause := 10 * time.Millisecond
	for end := time.Now().Add(sweeps); len(stacks) > 0 && time.Now().Before(end); pause = min(2*pause, time.Second) {
		time.Sleep(pause)
		stacks = running(label)
	}
	return stacks
}

// isConnection reports whether the stack is of a goroutine that net/http holds a
// connection with.
func isConnection(stack string) bool {
	return strings.Contains(stack, "net/http.(*persistConn)") || strings.Contains(stack, "lientConnReadLoop")
}

// entry returns the function that the stack's goroutine was started with, and where it
// is.
func entry(stack string) string {
	_, at, _ := strings.Cut(stack[strings.LastIndex(stack, "#\t"):], "\t")
	fields := strings.Fields(at) // address, function, file and line
	if len(fields) < 3 {
		return at
	}
	function, _, _ := strings.Cut(fields[1], "+")
	return function + " (" + fields[2] + ")"
}
