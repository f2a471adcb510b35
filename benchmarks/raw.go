package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// saveRaw writes all samples in the format of go test -bench, so that benchstat
// can compare two runs, or rows with -col /rt.
func saveRaw(file string, r results) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, s := range r.stub {
		writeSamples(w, fmt.Sprintf("Stub/%s/goroutines=%d", s.name, s.goroutines), s.samples)
	}
	for _, l := range r.loopback {
		writeSamples(w, fmt.Sprintf("Loopback/%s/goroutines=%d", l.protocol, l.goroutines), l.samples)
	}
	for _, l := range r.once {
		writeSamples(w, fmt.Sprintf("LoopbackPOST/%s/goroutines=%d", l.protocol, l.goroutines), l.samples)
	}
	for _, c := range r.patience.cases {
		writeSamples(w, fmt.Sprintf("Patience/%s/caller=%s", c.method, strings.NewReplacer(" ", "-", ",", "").Replace(c.caller)), c.samples)
	}
	return errors.Join(w.Flush(), f.Close())
}

func writeSamples(w io.Writer, name string, samples map[string][]sample) {
	for _, row := range slices.Sorted(maps.Keys(samples)) {
		rt := strings.NewReplacer(" ", "-", "/", "", ",", "", "*", "").Replace(row)
		for _, s := range samples[row] {
			fmt.Fprintf(w, "Benchmark%s/rt=%s 1 %.2f ns/op %.2f cpu-ns/op %.1f B/op %.2f allocs/op\n", name, rt, s.wall, s.cpu, s.bytes, s.allocs)
		}
	}
}
