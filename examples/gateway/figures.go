package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// An incident is what a show leaves behind: the answer of -json.
type incident struct {
	Fault       fault        `json:"fault"`
	Seconds     float64      `json:"seconds"`                     // length of the load
	FaultAt     float64      `json:"fault_at_seconds"`            // all times count from the start
	HealedAt    *float64     `json:"healed_at_seconds,omitempty"` // when the fault ended by itself; only "down" does
	Plain       figures      `json:"plain"`
	Respawn     figures      `json:"respawn"`
	Promotions  int          `json:"promotions"` // transports that respawn swapped in
	Rejections  int          `json:"rejections"` // and those it tried and threw away
	Recreations []recreation `json:"recreations"`
}

// figures are those of one lane.
type figures struct {
	Sent          int      `json:"sent"`
	Answered      int      `json:"answered"`
	Failed        int      `json:"failed"`
	LongestOutage float64  `json:"longest_outage_seconds"` // longest time without any answer
	RecoveredAt   *float64 `json:"recovered_at_seconds"`   // first answer to a request after the first that the fault cost; null: never
	LostLater     int      `json:"failed_after_recovery"`  // sent after that, and failed all the same
	P50           float64  `json:"p50_seconds"`            // of answered requests, to the last word
	P99           float64  `json:"p99_seconds"`
	Connections   int64    `json:"connections_opened"`
	Transports    int      `json:"transports_built"`

	ticks []tick // for the picture
}

// sumUp counts what the records of a lane say about a show of the given length
// with a fault at faultAt.
func sumUp(records []record, faultAt, length time.Duration) figures {
	f := figures{Sent: len(records)}
	var took, answers []time.Duration
	for _, r := range records {
		switch {
		case r.answered():
			f.Answered++
			took = append(took, r.ended-r.sent)
			answers = append(answers, r.ended)
		default:
			f.Failed++
		}
	}
	slices.Sort(took)
	f.P50, f.P99 = percentile(took, 0.50).Seconds(), percentile(took, 0.99).Seconds()

	slices.Sort(answers)
	var longest, previous time.Duration
	for _, at := range append(answers, length) {
		longest = max(longest, at-previous)
		previous = max(previous, at)
	}
	f.LongestOutage = longest.Seconds()
	if at, ok := recovery(records, faultAt); ok {
		f.RecoveredAt = new(at.Seconds())
		for _, r := range records {
			if r.failed() && r.sent > at {
				f.LostLater++
			}
		}
	}
	return f
}

// recovery returns when the first request was answered that had been sent after
// the fault, and after the first that the fault cost: however long that one
// waited until it failed.
func recovery(records []record, faultAt time.Duration) (time.Duration, bool) {
	firstLost, first := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for _, r := range records {
		if r.failed() && r.ended >= faultAt {
			firstLost = min(firstLost, r.sent)
		}
	}
	for _, r := range records {
		if r.answered() && r.sent >= faultAt && r.sent > firstLost {
			first = min(first, r.ended)
		}
	}
	return first, first != math.MaxInt64
}

// percentile returns the nearest rank in sorted, and 0 for nothing.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(p*float64(len(sorted)))), 1)-1]
}

// writeJSONTo writes the figures for machines.
func (in *incident) writeJSONTo(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(in); err != nil {
		return fmt.Errorf("cannot write the figures: %w", err)
	}
	return nil
}

// writeTo writes the figures for people: both lanes side by side, what respawn's
// spans say, and what it comes to. Lines are at most width columns; 0 is any.
func (in *incident) writeTo(w io.Writer, width int) {
	row := func(label string, value func(figures) string) {
		fmt.Fprintf(w, "%-20s%14s%14s\n", label, value(in.Plain), value(in.Respawn))
	}
	fmt.Fprintf(w, "%-20s%14s%14s\n", "", "plain", "respawn")
	row("sent", func(f figures) string { return fmt.Sprint(f.Sent) })
	row("failed", func(f figures) string { return fmt.Sprint(f.Failed) })
	row("longest outage", func(f figures) string { return fmt.Sprintf("%.2f s", f.LongestOutage) })
	row("recovered", func(f figures) string {
		switch {
		case f.RecoveredAt != nil:
			return fmt.Sprintf("at %.2f s", *f.RecoveredAt)
		case f.Failed == 0:
			return "never failed"
		}
		return "never"
	})
	row("p50", func(f figures) string { return fmt.Sprintf("%.0f ms", f.P50*1000) })
	row("p99", func(f figures) string { return fmt.Sprintf("%.0f ms", f.P99*1000) })
	row("connections opened", func(f figures) string { return fmt.Sprint(f.Connections) })
	row("transports built", func(f figures) string { return fmt.Sprint(f.Transports) })
	fmt.Fprintln(w, wrap(fmt.Sprintf("p50 and p99 are of answered requests. respawn swapped %d time(s) and threw %d candidate(s) away.",
		in.Promotions, in.Rejections), width, 0))
	for _, r := range in.Recreations {
		fmt.Fprintln(w)
		r.writeTo(w)
	}
	fmt.Fprintf(w, "\n%s\n", wrap(in.verdict(), width, 0))
	fmt.Fprintf(w, "Try next: %s\n", in.Fault.next())
}
