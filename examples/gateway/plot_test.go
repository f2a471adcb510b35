package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// elements parses the picture to its end and counts what it is made of, by
// name and class, and the text in it.
func elements(t *testing.T, svg []byte) (map[string]int, string) {
	t.Helper()
	count := map[string]int{}
	var text strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return count, text.String()
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			key := token.Name.Local
			for _, a := range token.Attr {
				if a.Name.Local == "class" {
					key += "." + a.Value
				}
			}
			count[key]++
		case xml.CharData:
			text.Write(token)
			text.WriteByte('\n')
		}
	}
}

func TestPictureShowsTheIncident(t *testing.T) {
	in := sample()
	var out bytes.Buffer
	require.NoError(t, drawPlot(&out, in))
	count, text := elements(t, out.Bytes())
	require.Equal(t, 1, count["svg"])

	want := map[look]int{}
	for _, f := range []figures{in.Plain, in.Respawn} {
		for _, tick := range f.ticks {
			want[tick.look()]++
		}
	}
	require.NotZero(t, want[lookWaiting])
	const inLegend = 1
	require.Equal(t, want[lookWaiting]+inLegend, count["rect.waiting"])
	require.Equal(t, want[lookFailed]+inLegend, count["rect.failed"])
	require.GreaterOrEqual(t, count["rect.answered"], want[lookAnswered]+inLegend)
	for _, says := range []string{
		"blackhole", "plain http.Client", "60 of 80 requests failed, still dead at the end",
		"30 of 80 requests failed, 1.6 s without an answer", "fault", "recovered at 2.54 s", "seconds", "waiting",
	} {
		require.Contains(t, text, says)
	}
}

func TestPictureOfAnUpstreamThatWasDown(t *testing.T) {
	in := sample()
	in.Fault, in.HealedAt = faultDown, new(2.5)
	var out bytes.Buffer
	require.NoError(t, drawPlot(&out, in))
	_, text := elements(t, out.Bytes())
	require.Contains(t, text, "upstream back")
	require.NotContains(t, text, "recovered at", "nothing did, but the upstream")
}

func TestPictureOfNothing(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, drawPlot(&out, &incident{Fault: faultClosed, Seconds: 12}))
	elements(t, out.Bytes())
}
