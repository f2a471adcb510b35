package respawndebug

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                          "0 s",
		0:                                     "0 s",
		999 * time.Microsecond:                "< 1 ms",
		time.Millisecond:                      "1 ms",
		999*time.Millisecond + 999999:         "999 ms",
		time.Second:                           "1.0 s",
		9*time.Second + 999*time.Millisecond:  "9.9 s",
		13*time.Second + 600*time.Millisecond: "13.6 s",
		time.Minute - 1:                       "59.9 s",
		61 * time.Second:                      "1 min 1 s",
		time.Hour - 1:                         "59 min 59 s",
		25*time.Hour - 1:                      "1 d 0 h",
		23*time.Hour + 5*time.Minute:          "23 h 5 min",
		50 * time.Hour:                        "2 d 2 h",
	} {
		assert.Equal(t, want, duration(d), d)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3*3600)) // still the last year, in UTC
	assert.Equal(t, "22:00:00", clock(now, now))
	assert.Equal(t, "21:00:00", clock(now.Add(-time.Hour), now))
	assert.Equal(t, "2025-12-30 22:00:00", clock(now.Add(-24*time.Hour), now))
	assert.Equal(t, "2024-12-31 22:00:00", clock(now.AddDate(-1, 0, 0), now))
}

func TestShown(t *testing.T) {
	for name, want := range map[string]string{
		"https://a.test:443":     "https://a.test:443",
		"ünï.test":               "ünï.test",
		"<b>":                    "<b>", // the template's business
		"a\nb\x00":               `a\u000ab\u0000`,
		"\u202egnp.exe":          `\u202egnp.exe`,
		"\xffa\uFFFD":            `\xffa` + "\uFFFD",
		strings.Repeat("a", 261): strings.Repeat("a", 261),
		strings.Repeat("a", 262): strings.Repeat("a", 261) + "…",
	} {
		assert.Equal(t, want, shown(name))
	}
}

// Text has a contrast of at least 4.5 to 1 with what it is written on, in both
// schemes, and marks of 3 to 1 (WCAG 2.2, 1.4.3 and 1.4.11).
func TestContrast(t *testing.T) {
	light, dark, ok := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	require.True(t, ok)
	for scheme, css := range map[string]string{"light": light, "dark": dark[:strings.Index(dark, "* {")]} {
		colors := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
			colors[m[1]] = luminance(t, m[2])
		}
		require.Len(t, colors, 12, scheme)
		contrast := func(a, b string) float64 {
			return (max(colors[a], colors[b]) + 0.05) / (min(colors[a], colors[b]) + 0.05)
		}
		for _, text := range []string{"text", "quiet", "link", "healthy", "recovering", "failing", "closed"} {
			for _, ground := range []string{"page", "card", "shade"} {
				assert.GreaterOrEqual(t, contrast(text, ground), 4.5, "%s: %s on %s", scheme, text, ground)
			}
		}
		assert.GreaterOrEqual(t, contrast("drain", "shade"), 3.0, scheme)
	}
}

// luminance is WCAG's relative luminance.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var l float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		require.NoError(t, err)
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		l += weight * c
	}
	return l
}

func TestCount(t *testing.T) {
	assert.Equal(t, "1 request, 0 requests, 12 requests",
		fmt.Sprintf("%s, %s, %s", count(1, "request"), count(int64(0), "request"), count(12, "request")))
}
