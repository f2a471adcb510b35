package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// The picture's measures, in its own units.
const (
	plotWidth  = 960
	plotHeight = 344
	plotLeft   = 30
	plotRight  = plotWidth - 30
	laneHeight = 54
	plainTop   = 122
	respawnTop = 212
	axisTop    = 282
	marksTop   = axisTop + 44 // the names of the marks
)

// plotStyle is readable on light and on dark pages. The background is left to
// them, the text is a grey between and follows those who say what they prefer.
// The tick colors are of Okabe and Ito's set, which color-blind people can
// tell apart.
const plotStyle = `
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 14px; fill: #6e7781 }
  .title { font-size: 18px; font-weight: 600 }
  .name { font-weight: 600 }
  .small { font-size: 12px }
  .axis, .mark { stroke: #6e7781; stroke-width: 1 }
  .mark { stroke-width: 1.5; stroke-dasharray: 4 3 }
  .answered { fill: #009e73 }
  .failed { fill: #d55e00 }
  .waiting { fill: #e6ab02 }
  @media (prefers-color-scheme: light) { text { fill: #424a53 } .axis, .mark { stroke: #424a53 } }
  @media (prefers-color-scheme: dark) { text { fill: #b7c0cb } .axis, .mark { stroke: #b7c0cb } }
`

// A plot draws one incident.
type plot struct {
	in *incident
	b  strings.Builder
}

// drawPlot writes the incident as an SVG picture: a lane for each client, and
// in it a bar for each tick.
func drawPlot(w io.Writer, in *incident) error {
	p := &plot{in: in}
	p.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`,
		plotWidth, plotHeight, plotWidth, plotHeight)
	p.printf(`<title id="title">%s</title>`, p.title())
	p.printf(`<desc id="desc">Plain http.Client: %s. respawn: %s.</desc>`, summarize(in.Plain), summarize(in.Respawn))
	p.printf(`<style>%s</style>`, plotStyle)
	p.text(plotLeft, 32, "title", "start", p.title())
	p.text(plotLeft, 54, "", "start", in.Fault.headline())
	p.legend(80)
	p.lane(plainTop, "plain http.Client", in.Plain)
	p.lane(respawnTop, "respawn", in.Respawn)
	p.marks()
	p.axis()
	p.printf(`</svg>`)
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("cannot write the picture: %w", err)
	}
	return nil
}

func (p *plot) printf(format string, values ...any) { fmt.Fprintf(&p.b, format+"\n", values...) }

func (p *plot) text(x, y float64, class, anchor, text string) {
	p.printf(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, text)
}

func (p *plot) title() string {
	return fmt.Sprintf("The same load on two clients; at second %g: %s", p.in.FaultAt, p.in.Fault)
}

// x is where a moment is.
func (p *plot) x(seconds float64) float64 {
	return plotLeft + (plotRight-plotLeft)*min(seconds/p.in.Seconds, 1)
}

func (p *plot) legend(y float64) {
	x := float64(plotLeft)
	for _, entry := range []struct {
		class, text string
		width       float64
	}{{"answered", "answered", 90}, {"failed", "failed", 70}, {"waiting", "waiting: nothing ended, requests in flight", 0}} {
		p.printf(`<rect x="%.1f" y="%.1f" width="10" height="10" class="%s"/>`, x, y-9, entry.class)
		p.text(x+15, y, "small", "start", entry.text)
		x += entry.width
	}
}

// lane draws a client's ticks. One in which requests both failed and were
// answered is divided as they are.
func (p *plot) lane(top float64, name string, f figures) {
	p.printf(`<text x="%d" y="%.1f"><tspan class="name">%s</tspan> <tspan class="small" dx="6">%s</tspan></text>`,
		plotLeft, top-8, name, summarize(f))
	if len(f.ticks) == 0 {
		return
	}
	width := p.x(p.in.Seconds/float64(len(f.ticks))) - plotLeft
	bar := func(i int, y, height float64, class string) {
		if height > 0 {
			p.printf(`<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" class="%s"/>`,
				plotLeft+float64(i)*width, y, width-1, height, class)
		}
	}
	for i, t := range f.ticks {
		switch t.look() {
		case lookAnswered, lookFailed:
			failed := laneHeight * float64(t.failed) / float64(t.failed+t.answered)
			bar(i, top, failed, "failed")
			bar(i, top+failed, laneHeight-failed, "answered")
		case lookWaiting:
			bar(i, top+laneHeight/3, laneHeight/3, "waiting")
		}
	}
}

func summarize(f figures) string {
	text := fmt.Sprintf("%d of %d requests failed", f.Failed, f.Sent)
	switch {
	case f.Failed == 0:
		return text
	case f.RecoveredAt == nil:
		return text + ", still dead at the end"
	}
	return text + fmt.Sprintf(", %.1f s without an answer", f.LongestOutage)
}

// marks are the fault, the upstream's return, and the recoveries. Names of what
// goes wrong end at their line, those of what goes well begin there, so the two
// never meet.
func (p *plot) marks() {
	p.mark(p.in.FaultAt, "end", "fault", plainTop, respawnTop)
	if p.in.HealedAt != nil {
		p.mark(*p.in.HealedAt, "start", "upstream back", plainTop, respawnTop)
		return // and the recoveries with it
	}
	if at := p.in.Plain.RecoveredAt; at != nil {
		p.mark(*at, "start", "", plainTop)
	}
	if at := p.in.Respawn.RecoveredAt; at != nil {
		p.mark(*at, "start", fmt.Sprintf("recovered at %.2f s", *at), respawnTop)
	}
}

// mark draws a line across lanes, but not across what is written above them,
// and its name below the axis.
func (p *plot) mark(seconds float64, anchor, name string, lanes ...float64) {
	x := p.x(seconds)
	line := func(from, to float64) {
		p.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" class="mark"/>`, x, x, from, to)
	}
	for _, top := range lanes {
		line(top-3, top+laneHeight+5)
	}
	line(axisTop-6, axisTop)
	line(marksTop-16, marksTop+2) // below the axis' own figures
	nudge := 5.0
	if anchor == "end" {
		nudge = -nudge
	}
	p.text(x+nudge, marksTop, "small", anchor, name)
}

func (p *plot) axis() {
	p.printf(`<line x1="%d" x2="%d" y1="%d" y2="%d" class="axis"/>`, plotLeft, plotRight, axisTop, axisTop)
	last := int(math.Floor(p.in.Seconds))
	for s := range last + 1 {
		x := p.x(float64(s))
		p.printf(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="axis"/>`, x, x, axisTop, axisTop+5)
		p.text(x, axisTop+18, "small", "middle", fmt.Sprint(s))
	}
	p.text(plotRight, marksTop, "small", "end", "seconds")
}
