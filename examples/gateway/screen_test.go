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

// watch plays 12 seconds to a screen: blackhole at 3 s, one lane recovers.
func watch(view screen) {
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
		if i == 30 {
			view.note(now, "fault")
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
	require.Contains(t, out.String(), "     3.1  -- fault\n")
	require.Contains(t, out.String(), "-- respawn: tripped respawn.trigger=stall outage=1.23\n")
	require.Contains(t, out.String(), "     3.0  ▪▪▪▪▪▪▪▪▪▪  ▪▪▪▪▪▪▪▪▪▪\n")
	require.Contains(t, out.String(), "     4.0  ·····xxxxx  ·····xxxxx\n")
	require.Contains(t, out.String(), "     5.0  xxxxxxxxxx  xxxxxx▪▪▪▪\n")
	require.Contains(t, out.String(), "    12.0  xxxxxxxxxx  ▪▪▪▪▪▪▪▪▪▪\n")
}

// A terminal understands as much of one as the live display needs.
type terminal struct {
	lines [][]rune
	row   int
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
	for _, width := range []int{liveWidth, 80, 100, 140, 300} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			tm := &terminal{}
			watch(newLiveScreen(tm, width, true))
			got := tm.String()
			require.Equal(t, 1, strings.Count(got, "━━"+"\n"), got)
			require.Contains(t, got, "12.0 s   ━━━")
			require.Contains(t, got, "▼ blackhole")
			require.Contains(t, got, "  3.1 s  fault\n")
			require.Equal(t, 1, strings.Count(got, "respawn: tripped respawn.trigger=stall"))
			require.Contains(t, got, "plain    answered   60   failed  170   waiting  10\n")
			require.Contains(t, got, "respawn  answered  208   failed   22   waiting   0\n")
			require.Equal(t, 120, ticksIn(got, "plain"), got)
			for _, line := range tm.lines {
				require.LessOrEqual(t, len(line), width, string(line))
			}
		})
	}
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
	watch(newLiveScreen(&out, 80, false))
	require.NotContains(t, out.String(), "\x1b[3")
	require.True(t, strings.HasSuffix(out.String(), showCursor+"\n"))
}
