package main

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The few control sequences that the live display needs; every terminal of
// the last forty years knows them.
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseDown  = "\x1b[J"
	resetStyle = "\x1b[0m"
	lineUp     = "\x1b[%dA\r"
)

// laneIndent is the room for a lane's name.
const laneIndent = 9

// A liveScreen redraws a block at the bottom of a terminal. Notes scroll away
// above it.
type liveScreen struct {
	mu    sync.Mutex
	w     io.Writer
	width func() int // of the terminal as it is now
	color bool

	script  script
	start   time.Time
	now     time.Duration
	lanes   [2][]tick // plain, respawn
	drawn   []int     // how long the block's lines on the terminal are
	running bool
}

func newLiveScreen(w io.Writer, width func() int, color bool) *liveScreen {
	return &liveScreen{w: w, width: width, color: color}
}

func (l *liveScreen) begin(s script) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.script, l.start, l.running = s, time.Now(), true
	fmt.Fprintf(l.w, "%s%s%s\n", hideCursor, title(s, l.width()), legend(s, l.style))
	l.redraw("")
}

func (l *liveScreen) draw(now time.Duration, plain, respawn []tick) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.lanes = now, [2][]tick{plain, respawn}
	l.redraw("")
}

func (l *liveScreen) note(now time.Duration, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := fmt.Sprintf("%5.1f s  %s\n", now.Seconds(), wrap(text, l.width(), laneIndent))
	if !l.running {
		fmt.Fprint(l.w, line)
		return
	}
	l.redraw(line)
}

func (l *liveScreen) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = false
	fmt.Fprint(l.w, showCursor+"\n")
}

func (l *liveScreen) logs() slog.Handler {
	return noteHandler{note: func(text string) {
		l.mu.Lock()
		now := time.Since(l.start)
		l.mu.Unlock()
		l.note(now, text)
	}}
}

// redraw replaces the block on the terminal, with above before it; the caller
// holds l.mu. It is one write, so that nothing flickers.
func (l *liveScreen) redraw(above string) {
	width := l.width()
	if width <= 0 { // it cannot be asked any more
		width = liveWidth
	}
	var b strings.Builder
	if up := rows(l.drawn, width); up > 0 {
		fmt.Fprintf(&b, lineUp, up)
	}
	b.WriteString(eraseDown + above)
	lines := l.block(width)
	l.drawn = l.drawn[:0]
	for _, line := range lines {
		l.drawn = append(l.drawn, columns(line))
		b.WriteString(line + "\n")
	}
	_, _ = io.WriteString(l.w, b.String()) // a terminal that has gone: the figures will say so
}

// rows is how many rows of a terminal lines of these lengths take. One that has
// become narrower has broken those that were drawn for more.
func rows(lengths []int, width int) int {
	n := 0
	for _, length := range lengths {
		n += max((length+width-1)/width, 1)
	}
	return n
}

var styles = regexp.MustCompile("\x1b\\[[0-9;]*m")

// columns is how many columns a line takes.
func columns(line string) int { return utf8.RuneCountInString(styles.ReplaceAllString(line, "")) }

// block is the progress bar, and below it bands of as many ticks as the
// terminal is wide, each with both lanes, so that the two are easy to compare.
func (l *liveScreen) block(width int) []string {
	n := l.script.ticks()
	perBand := min(n, max((width-laneIndent-1)/10*10, 10))
	lines := []string{l.progress(perBand)}
	for from := 0; from < n; from += perBand {
		to := min(from+perBand, n)
		lines = append(lines, l.axis(from, to))
		for i, name := range []string{"plain", "respawn"} {
			lines = append(lines, fmt.Sprintf("%-*s%s", laneIndent, name, l.paint(between(l.lanes[i], from, to))))
		}
	}
	for i, name := range []string{"plain", "respawn"} {
		var sum tick
		for _, t := range l.lanes[i] {
			sum.answered += t.answered
			sum.failed += t.failed
			sum.waiting = t.waiting // now
		}
		lines = append(lines, fmt.Sprintf("%-*sanswered %4d   failed %4d   waiting %3d", laneIndent, name, sum.answered, sum.failed, sum.waiting))
	}
	return lines
}

func (l *liveScreen) progress(width int) string {
	done := int(int64(width) * int64(l.now) / int64(l.script.length))
	return fmt.Sprintf("%4.1f s   %s%s", l.now.Seconds(), strings.Repeat("━", done), strings.Repeat("─", width-done))
}

// axis marks the seconds of a band, and the fault.
func (l *liveScreen) axis(from, to int) string {
	perSecond := max(int(time.Second/l.script.tick), 1)
	marks := []rune(strings.Repeat(" ", to-from))
	put := func(at int, text string) {
		for i, r := range []rune(text) {
			if k := at - from + i; k >= 0 && k < len(marks) {
				marks[k] = r
			}
		}
	}
	for i := from; i < to; i++ {
		if i%perSecond == 0 {
			put(i, fmt.Sprintf("%d", i/perSecond))
		}
	}
	if l.now >= l.script.faultAt {
		put(int(l.script.faultAt/l.script.tick), "▼ "+string(l.script.fault))
	}
	if l.script.fault.passes() && l.now >= l.script.healAt {
		put(int(l.script.healAt/l.script.tick), "▲ back")
	}
	return strings.Repeat(" ", laneIndent) + strings.TrimRight(string(marks), " ")
}

func between(ticks []tick, from, to int) []tick {
	return ticks[min(from, len(ticks)):min(to, len(ticks))]
}

func (l *liveScreen) paint(ticks []tick) string {
	var b strings.Builder
	for _, t := range ticks {
		b.WriteString(l.style(t.look()))
	}
	return b.String()
}

func (l *liveScreen) style(k look) string {
	if !l.color || k == lookIdle {
		return glyph(k)
	}
	color := map[look]string{lookAnswered: "\x1b[32m", lookFailed: "\x1b[31m", lookWaiting: "\x1b[33m"}[k]
	return color + glyph(k) + resetStyle
}
