package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watch plays 12 seconds to a screen: blackhole at 3 s, one lane recovers. What
// happens on the way happens at ticks.
func watch(view screen, onTheWay ...func(tick int)) {
	s := fullScript(faultBlackhole)
	view.begin(s)
	var plain, respawn []tick
	for i := range s.ticks() {
		now := time.Duration(i+1) * s.tick
		next := func(back int) tick {
			switch {
			case i < 30 || i >= back:
				return tick{answered: 2}
			case i < 35:
				return tick{waiting: 4}
			}
			return tick{failed: 2, waiting: 10}
		}
		plain, respawn = append(plain, next(1000)), append(respawn, next(46))
		view.draw(now, plain, respawn)
		for _, happens := range onTheWay {
			happens(i)
		}
		if i == 30 {
			view.note(now, "fault "+string(faultBlackhole)+": "+faultBlackhole.headline())
			slog.New(view.logs()).With("respawn.name", "show").
				Info("respawn: tripped", "respawn.trigger", "stall", "outage", 1.23456, "server.port", 443)
		}
	}
	view.end()
}

func TestLineScreenIsPlain(t *testing.T) {
	var out bytes.Buffer
	watch(newScreen(&out))
	require.NotContains(t, out.String(), "\x1b", "no terminal")
	require.Contains(t, out.String(), "     3.1  -- fault blackhole: the established HTTP/2 connection swallows everything; new ones would work\n")
	require.Contains(t, out.String(), "-- respawn: tripped respawn.trigger=stall outage=1.23\n")
	require.Contains(t, out.String(), "     3.0  ▪▪▪▪▪▪▪▪▪▪  ▪▪▪▪▪▪▪▪▪▪\n")
	require.Contains(t, out.String(), "     4.0  ·····xxxxx  ·····xxxxx\n")
	require.Contains(t, out.String(), "     5.0  xxxxxxxxxx  xxxxxx▪▪▪▪\n")
	require.Contains(t, out.String(), "    12.0  xxxxxxxxxx  ▪▪▪▪▪▪▪▪▪▪\n")
}

// A terminal understands as much of one as the live display needs. It breaks
// lines that are longer than it is wide, when they are written and when it
// becomes narrower.
type terminal struct {
	width int
	lines [][]rune
	row   int
}

func (tm *terminal) resize(width int) {
	var lines [][]rune
	row := 0
	for i, line := range tm.lines {
		if i == tm.row {
			row = len(lines)
		}
		for ; len(line) > width; line = line[width:] {
			lines = append(lines, line[:width:width])
		}
		lines = append(lines, line)
	}
	if beyond := tm.row - len(tm.lines); beyond >= 0 {
		row = len(lines) + beyond
	}
	tm.width, tm.lines, tm.row = width, lines, row
}

func (tm *terminal) Write(p []byte) (int, error) {
	text := []rune(string(p))
	for i := 0; i < len(text); i++ {
		for len(tm.lines) <= tm.row {
			tm.lines = append(tm.lines, nil)
		}
		switch text[i] {
		case '\n':
			tm.row++
		case '\r':
		case '\x1b':
			j := i + 2
			for ; !strings.ContainsRune("AJhlm", text[j]); j++ {
			}
			switch text[j] {
			case 'A':
				var n int
				fmt.Sscanf(string(text[i+2:j]), "%d", &n)
				tm.row -= n
			case 'J':
				tm.lines = append(tm.lines[:tm.row], nil)
			}
			i = j
		default:
			if len(tm.lines[tm.row]) == tm.width {
				tm.row++
				tm.lines = append(tm.lines, nil)
			}
			tm.lines[tm.row] = append(tm.lines[tm.row], text[i])
		}
	}
	return len(p), nil
}

func (tm *terminal) String() string {
	var b strings.Builder
	for _, line := range tm.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

func TestLiveScreenRedrawsInPlace(t *testing.T) {
	for _, width := range []int{liveWidth, 80, 100, 120, 140, 300} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			tm := &terminal{width: width}
			watch(newLiveScreen(tm, func() int { return tm.width }, true))
			requireAtItsEnd(t, tm)
			notes := strings.Join(strings.Fields(tm.String()), " ")
			require.Contains(t, notes, "3.1 s fault blackhole: the established HTTP/2 connection swallows everything; new ones would work", "whole words")
		})
	}
}

// A window that becomes narrower breaks the lines that are on it. None of them
// stays behind.
func TestAWindowThatShrinksShowsNoTrail(t *testing.T) {
	for name, to := range map[string]int{"a little": 110, "much": 72, "very much": 60, "wider": 200} {
		t.Run(name, func(t *testing.T) {
			tm := &terminal{width: 120}
			watch(newLiveScreen(tm, func() int { return tm.width }, true), func(tick int) {
				if tick == 60 {
					tm.resize(to)
				}
			})
			requireAtItsEnd(t, tm)
		})
	}
}

// requireAtItsEnd asserts that a terminal shows what watch plays, once.
func requireAtItsEnd(t *testing.T, tm *terminal) {
	t.Helper()
	got := tm.String()
	require.Equal(t, 1, strings.Count(got, "━"+"\n"), got)
	require.NotContains(t, got, "─", "the bar is full, and there is no other")
	require.Contains(t, got, "12.0 s   ━━━")
	require.Contains(t, got, "▼ blackhole")
	require.Contains(t, got, "  3.1 s  fault blackhole: ")
	require.Equal(t, 1, strings.Count(got, "respawn: tripped"))
	require.Equal(t, 1, strings.Count(got, "plain    answered   60   failed  170   waiting  10\n"), got)
	require.Equal(t, 1, strings.Count(got, "respawn  answered  208   failed   22   waiting   0\n"), got)
	require.Equal(t, 2, strings.Count(got, "waiting  "), got)
	require.Equal(t, 120, ticksIn(got, "plain"), got)
	for _, line := range tm.lines {
		require.LessOrEqual(t, len(line), tm.width, string(line))
	}
}

func TestWrap(t *testing.T) {
	const text = "a fresh transport has to earn its place"
	require.Equal(t, text, wrap(text, 0, 3))
	require.Equal(t, text, wrap(text, len(text)+3, 3))
	require.Equal(t, "a fresh\n   transport\n   has to\n   earn its\n   place", wrap(text, 12, 3))
	require.Equal(t, "a\nfresh\ntransport\nhas\nto\nearn\nits\nplace", wrap(text, 1, 0), "no word is broken")
}

// A narrow terminal has a display of lines, which end between words.
func TestLineScreenOnANarrowTerminal(t *testing.T) {
	var out bytes.Buffer
	watch(newLineScreen(&out, 40))
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "respawn.trigger=") && !strings.HasPrefix(line, "A tick") {
			require.LessOrEqual(t, len([]rune(line))-1, 40, line)
		}
	}
	require.Contains(t, out.String(), "     3.1  -- fault blackhole: the\n             established HTTP/2\n")
}

// ticksIn counts a lane's ticks over all bands.
func ticksIn(screen, lane string) int {
	n := 0
	for line := range strings.Lines(screen) {
		if ticks, ok := strings.CutPrefix(line, lane); ok && !strings.Contains(line, "answered") {
			n += strings.Count(ticks, "▪") + strings.Count(ticks, "x") + strings.Count(ticks, "·")
		}
	}
	return n
}

func TestLiveScreenWithoutColors(t *testing.T) {
	var out bytes.Buffer
	watch(newLiveScreen(&out, func() int { return 80 }, false))
	require.NotContains(t, out.String(), "\x1b[3")
	require.True(t, strings.HasSuffix(out.String(), showCursor+"\n"))
}
