package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A page is docs/benchmarks.md while it is written, with its pictures.
type page struct {
	strings.Builder
	pictures map[string]string // by file name
}

func newPage() *page { return &page{pictures: map[string]string{}} }

// picturesDir is where the pictures are, seen from the page.
const picturesDir = "benchmarks"

func (p *page) printf(format string, values ...any) { fmt.Fprintf(p, format+"\n\n", values...) }

func (p *page) heading(text string) { p.printf("## %s", text) }

func (p *page) table(head []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(p, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	rules := make([]string, len(head))
	for i := range rules {
		rules[i] = "---"
	}
	line(rules)
	for _, row := range rows {
		line(row)
	}
	p.WriteString("\n")
}

func (p *page) picture(name string, c chart) {
	p.pictures[name+".svg"] = c.render()
	p.printf("![%s](%s/%s.svg)", c.title, picturesDir, name)
}

// save writes the page and its pictures under docs.
func (p *page) save(docs string) error {
	dir := filepath.Join(docs, picturesDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.pictures)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(p.pictures[name]), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(docs, "benchmarks.md"), []byte(strings.TrimSpace(p.String())+"\n"), 0o644)
}

// strong makes respawn's row stand out.
func strong(name string) string {
	if name == nameRespawn {
		return "**" + name + "**"
	}
	return name
}

func (e estimate) plus() string  { return fmt.Sprintf("%+.1f [%+.1f, %+.1f]", e.Mid, e.Lo, e.Hi) }
func (e estimate) times() string { return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Mid, e.Lo, e.Hi) }

// in is the estimate in another unit.
func (e estimate) in(unit float64) estimate { return estimate{e.Mid / unit, e.Lo / unit, e.Hi / unit} }

// round3 is a value with three digits that count.
func round3(v float64) string {
	switch {
	case v >= 100:
		return thousands(int64(v + .5))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// thousands is n in groups of three digits.
func thousands[T int | int64](n T) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// duration is d with three digits that count.
func duration(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d >= unit.d {
			return round3(float64(d)/float64(unit.d)) + " " + unit.name
		}
	}
	return fmt.Sprintf("%d ns", d)
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
