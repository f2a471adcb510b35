package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A screen is where people watch the show. It is safe for concurrent use.
type screen interface {
	begin(s script)
	draw(now time.Duration, plain, respawn []tick)
	note(now time.Duration, text string)
	end()
	// logs is where respawn's log goes if no OTEL_* variable sends it elsewhere.
	logs() slog.Handler
}

// liveWidth is what the narrowest terminal must have for the live display.
const liveWidth = 60

// newScreen returns a live display for a terminal, and plain lines for
// everything else.
func newScreen(w io.Writer) screen {
	width := func() int { return terminalWidth(w) }
	if width() < liveWidth || os.Getenv("TERM") == "dumb" {
		return newLineScreen(w, width())
	}
	return newLiveScreen(w, width, os.Getenv("NO_COLOR") == "")
}

// terminalWidth is a terminal's in columns, and 0 for what is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// A muteScreen shows nothing.
type muteScreen struct{}

func (muteScreen) begin(script)                       {}
func (muteScreen) draw(time.Duration, []tick, []tick) {}
func (muteScreen) note(time.Duration, string)         {}
func (muteScreen) end()                               {}
func (muteScreen) logs() slog.Handler                 { return slog.DiscardHandler }

// glyph is one tick. The shapes differ as the colors do, for those who have
// no colors.
func glyph(l look) string {
	switch l {
	case lookAnswered:
		return "▪"
	case lookFailed:
		return "x"
	case lookWaiting:
		return "·"
	}
	return " "
}

func glyphs(ticks []tick) string {
	var b strings.Builder
	for _, t := range ticks {
		b.WriteString(glyph(t.look()))
	}
	return b.String()
}

// legend explains a tick; style renders a look.
func legend(s script, style func(look) string) string {
	return fmt.Sprintf("A tick is %v:  %s answered  %s failed  %s waiting\n",
		s.tick, style(lookAnswered), style(lookFailed), style(lookWaiting))
}

func title(s script, width int) string {
	return wrap(fmt.Sprintf("The same load through a plain http.Client and through respawn: a request every %v, each with a deadline of %v.",
		s.every, s.deadline), width, 0) + fmt.Sprintf("\nAt second %g: %s.\n", s.faultAt.Seconds(), s.fault)
}

// noteIndent is the room for what comes before a note of a lineScreen.
const noteIndent = 13

// A noteHandler turns log records into notes, without what a note has already
// or what every record has.
type noteHandler struct {
	note  func(text string)
	attrs []slog.Attr
}

func (h noteHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (h noteHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	write := func(a slog.Attr) bool {
		switch {
		case slices.Contains([]string{"server.address", "server.port", "respawn.name", "trace_id", "span_id"}, a.Key):
		case a.Value.Kind() == slog.KindFloat64:
			fmt.Fprintf(&b, " %s=%.2f", a.Key, a.Value.Float64())
		default:
			fmt.Fprintf(&b, " %s", a)
		}
		return true
	}
	for _, a := range h.attrs {
		write(a)
	}
	r.Attrs(write)
	h.note(b.String())
	return nil
}

func (h noteHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(slices.Clip(h.attrs), attrs...)
	return h
}

// WithGroup is not needed for respawn's flat records.
func (h noteHandler) WithGroup(string) slog.Handler { return h }

// A lineScreen writes one line a second.
type lineScreen struct {
	mu    sync.Mutex
	w     io.Writer
	width int
	start time.Time
	tick  time.Duration
}

func newLineScreen(w io.Writer, width int) *lineScreen { return &lineScreen{w: w, width: width} }

func (l *lineScreen) begin(s script) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.tick = time.Now(), s.tick
	fmt.Fprintf(l.w, "%s%s\n%8s  %-10s  %s\n", title(s, l.width), legend(s, glyph), "second", "plain", "respawn")
}

func (l *lineScreen) draw(now time.Duration, plain, respawn []tick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const perLine = 10
	if n := len(plain); n > 0 && n%perLine == 0 && len(respawn) == n {
		fmt.Fprintf(l.w, "%8.1f  %-10s  %-10s\n", now.Seconds(), glyphs(plain[n-perLine:]), glyphs(respawn[n-perLine:]))
	}
}

func (l *lineScreen) note(now time.Duration, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%8.1f  -- %s\n", now.Seconds(), wrap(text, l.width, noteIndent))
}

func (l *lineScreen) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w)
}

func (l *lineScreen) logs() slog.Handler {
	return noteHandler{note: func(text string) { l.note(l.since(), text) }}
}

func (l *lineScreen) since() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start.IsZero() {
		return 0 // a client is made before the show begins, and may log
	}
	return time.Since(l.start)
}
