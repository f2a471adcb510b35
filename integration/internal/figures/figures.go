// Package figures passes results from the tests to cmd/faults: one line of JSON for
// each scenario, in a file that an environment variable names.
package figures

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Env names the file that tests append their figures to. Without it they only
// print them.
const Env = "RESPAWN_FIGURES"

// Figures are what one scenario has cost, first the bare transport and then
// respawn.
type Figures struct {
	Scenario string

	BareSent, BareFailed int
	BareWindow           time.Duration // how long the bare transport was watched
	BareNote             string        `json:",omitempty"` // takes the place of the bare numbers in the table

	Sent, Failed int
	Late         int           // of the failed: the caller's deadline passed
	Unsafe       int           // of the failed: nobody may send them again
	Cut          int           // answers that ended in their bodies, too late for a replay
	FailedAfter  int           // of the failed: those that began once the fault was curable
	Recovery     time.Duration // from when the fault was curable to the first success of a request that began later
	Built        int           // transports, the first one included
	Promoted     int

	// Left over when all clients are closed.
	Conns      int64 // by the servers' own count, or that of respawntest's network
	Goroutines int
	Files      int

	// A soak has more to say, in one line of its own.
	Soak string `json:",omitempty"`
}

// String is the line that tests print.
func (f *Figures) String() string {
	return fmt.Sprintf("figures: bare=%d/%d failed in %s | sent=%d failed=%d late=%d unsafe=%d cut=%d failed_when_curable=%d recovery=%s built=%d promoted=%d | left over: conns=%d goroutines=%d files=%d",
		f.BareFailed, f.BareSent, f.BareWindow.Round(time.Millisecond),
		f.Sent, f.Failed, f.Late, f.Unsafe, f.Cut, f.FailedAfter, f.Recovery.Round(100*time.Microsecond), f.Built, f.Promoted,
		f.Conns, f.Goroutines, f.Files)
}

// Append adds f to the file that Env names, if there is one.
func (f *Figures) Append() error {
	name := os.Getenv(Env)
	if name == "" {
		return nil
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	return json.NewEncoder(file).Encode(f)
}

// Read returns all figures that r holds, in their order.
func Read(r io.Reader) ([]Figures, error) {
	var all []Figures
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var f Figures
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("figures: line %d: %w", len(all)+1, err)
		}
		all = append(all, f)
	}
	return all, lines.Err()
}

// Table is a table in Markdown, a row for each scenario, and below it what the
// soak says.
func Table(all []Figures) string {
	var rows, soak strings.Builder
	rows.WriteString("| scenario | bare: failed of sent | respawn: failed of sent | failed once curable | recovered in | transports | left over |\n")
	rows.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, f := range all {
		if f.Soak != "" {
			fmt.Fprintf(&soak, "\n%s: %s.\n", f.Scenario, f.Soak)
			continue
		}
		if f.BareSent == 0 && f.BareNote == "" {
			continue // a test with nothing to compare respawn with
		}
		fmt.Fprintf(&rows, "| %s | %s | **%d** of %d | %d | %s | %d | %d |\n", f.Scenario, bare(f),
			f.Failed+f.Cut, f.Sent, f.FailedAfter, rounded(f.Recovery), f.Built, f.Conns+int64(f.Goroutines+f.Files))
	}
	return rows.String() + soak.String()
}

// Short is a table of what callers feel of these scenarios.
func Short(some []Figures) string {
	var rows strings.Builder
	rows.WriteString("| scenario | bare: failed of sent | respawn: failed of sent | recovered in |\n| --- | ---: | ---: | ---: |\n")
	for _, f := range some {
		fmt.Fprintf(&rows, "| %s | %s | **%d** of %d | %s |\n", f.Scenario, bare(f), f.Failed+f.Cut, f.Sent, rounded(f.Recovery))
	}
	return rows.String()
}

func bare(f Figures) string {
	if f.BareNote != "" {
		return f.BareNote
	}
	if f.BareFailed == f.BareSent {
		return fmt.Sprintf("all of %d, in %s", f.BareSent, rounded(f.BareWindow))
	}
	return fmt.Sprintf("%d of %d", f.BareFailed, f.BareSent)
}

// rounded drops the digits that would differ in another run.
func rounded(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
}
