package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chartStyle is readable on light and on dark pages: the background is left to
// them, the text is a grey between and follows those who say what they prefer.
// The colors are of Okabe and Ito's set, which color-blind people can tell
// apart.
const chartStyle = `
  text { font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 13px; fill: #6e7781 }
  .title { font-size: 17px; font-weight: 600 }
  .strong { font-weight: 600 }
  .small { font-size: 12px }
  .axis { stroke: #6e7781; stroke-width: 1 }
  .grid { stroke: #6e7781; stroke-width: 1; opacity: .25 }
  .ref { stroke: #6e7781; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round }
  .whisker { stroke-width: 2 }
  .f0 { fill: #0072b2 } .f1 { fill: #e69f00 } .f2 { fill: #009e73 } .f3 { fill: #cc79a7 }
  .l0 { stroke: #0072b2 } .l1 { stroke: #e69f00 } .l2 { stroke: #009e73 } .l3 { stroke: #cc79a7 }
  @media (prefers-color-scheme: light) { text { fill: #424a53 } .axis, .grid, .ref { stroke: #424a53 } }
  @media (prefers-color-scheme: dark) { text { fill: #b7c0cb } .axis, .grid, .ref { stroke: #b7c0cb } .f0 { fill: #56b4e9 } .l0 { stroke: #56b4e9 } }
`

const (
	chartWidth  = 960.0
	chartMargin = 16.0
	panelTop    = 24.0 // for a panel's title
	panelBottom = 46.0 // for its axis
)

// A chart is one picture: a title, a legend, and panels below each other.
type chart struct {
	title  string
	series []string // the legend; their places are their colors
	panels []panel
}

// A panel is one field of a chart.
type panel interface {
	height() float64 // of the field
	draw(s *svg, f frame)
}

// A frame is where a panel's field is.
type frame struct{ left, top, right, bottom float64 }

type svg struct{ strings.Builder }

func (s *svg) printf(format string, values ...any) { fmt.Fprintf(s, format+"\n", values...) }

func (s *svg) text(x, y float64, class, anchor, text string) {
	s.printf(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, html.EscapeString(text))
}

func (s *svg) line(x1, y1, x2, y2 float64, class string) {
	s.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`, x1, y1, x2, y2, class)
}

// render returns the chart as an SVG picture.
func (c chart) render() string {
	s := &svg{}
	y := 34.0
	if len(c.series) > 0 {
		y = 62
	}
	var frames []frame
	for _, p := range c.panels {
		y += panelTop
		frames = append(frames, frame{chartMargin, y, chartWidth - chartMargin, y + p.height()})
		y += p.height() + panelBottom
	}
	s.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-labelledby="title">`,
		chartWidth, y, chartWidth, y)
	s.printf(`<title id="title">%s</title>`, html.EscapeString(c.title))
	s.printf(`<style>%s</style>`, chartStyle)
	s.text(chartMargin, 26, "title", "start", c.title)
	x := chartMargin
	for i, name := range c.series {
		s.printf(`<circle cx="%.1f" cy="46" r="5" class="f%d"/>`, x+5, i)
		s.text(x+16, 50, "", "start", name)
		x += 40 + 7.2*float64(len([]rune(name)))
	}
	for i, p := range c.panels {
		p.draw(s, frames[i])
	}
	s.printf(`</svg>`)
	return s.String()
}

// A scale puts values on a range of pixels.
type scale struct {
	lo, hi   float64
	log      bool
	from, to float64
}

func (s scale) at(v float64) float64 {
	lo, hi := s.lo, s.hi
	if s.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(max(v, s.lo))
	}
	share := min(max((v-lo)/(hi-lo), 0), 1)
	return s.from + share*(s.to-s.from)
}

// ticks are round values all over the scale.
func (s scale) ticks() []float64 {
	var ticks []float64
	if s.log {
		for v := math.Pow(10, math.Ceil(math.Log10(s.lo)-1e-9)); v <= s.hi*(1+1e-9); v *= 10 {
			ticks = append(ticks, v)
		}
		return ticks
	}
	raw := (s.hi - s.lo) / 8
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step*m >= raw {
			step *= m
			break
		}
	}
	for i := math.Ceil(s.lo/step - 1e-9); i*step <= s.hi+step*1e-6; i++ {
		ticks = append(ticks, i*step)
	}
	return ticks
}

// brief is a value as an axis has it.
func brief(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%gk", v/1e3)
	case a < 1e-9:
		return "0"
	}
	return fmt.Sprintf("%.4g", v)
}

// xAxis draws a horizontal axis with its grid.
func xAxis(s *svg, f frame, x scale, label string) {
	s.line(f.left, f.bottom, f.right, f.bottom, "axis")
	for _, v := range x.ticks() {
		at := x.at(v)
		s.line(at, f.top, at, f.bottom, "grid")
		s.text(at, f.bottom+16, "small", "middle", brief(v))
	}
	s.text(f.right, f.bottom+34, "small", "end", label)
}

// A dotPanel has a row for each name, and in it a dot with its interval for
// each series.
type dotPanel struct {
	title, label string // label says what the axis measures
	lo, hi       float64
	log          bool
	ref          float64 // a line to compare with; 0: none
	rows         []dotRow
}

type dotRow struct {
	name string
	dots []dot
}

type dot struct {
	series int
	at     estimate
	text   string // beside the dot, or in place of one that has no value
	none   bool   // it has no value
}

const (
	rowHeight = 24.0
	nameWidth = 216.0
)

func (p dotPanel) height() float64 { return rowHeight * float64(len(p.rows)) }

func (p dotPanel) draw(s *svg, f frame) {
	s.text(f.left, f.top-8, "strong", "start", p.title)
	f.left += nameWidth
	f.right -= 24
	x := scale{p.lo, p.hi, p.log, f.left, f.right}
	xAxis(s, f, x, p.label)
	if p.ref != 0 {
		s.line(x.at(p.ref), f.top-4, x.at(p.ref), f.bottom, "ref")
	}
	for i, row := range p.rows {
		y := f.top + rowHeight*(float64(i)+.5)
		class := ""
		if row.name == nameRespawn {
			class = "strong"
		}
		s.text(f.left-12, y+4, class, "end", row.name)
		for j, d := range row.dots {
			at := y + 6*(float64(j)-float64(len(row.dots)-1)/2)
			d.draw(s, x, at)
		}
	}
}

func (d dot) draw(s *svg, x scale, y float64) {
	if d.none {
		s.text(x.to-4, y+4, "small", "end", d.text)
		return
	}
	if lo, hi := x.at(d.at.Lo), x.at(d.at.Hi); hi-lo > 1 {
		s.line(lo, y, hi, y, fmt.Sprintf("whisker l%d", d.series))
	}
	at := x.at(d.at.Mid)
	s.printf(`<circle cx="%.1f" cy="%.1f" r="4" class="f%d"/>`, at, y, d.series)
	switch {
	case d.text == "":
	case at > (x.from+x.to)/2:
		s.text(min(at, x.at(d.at.Lo))-10, y+4, "small", "end", d.text)
	default:
		s.text(max(at, x.at(d.at.Hi))+10, y+4, "small", "start", d.text)
	}
}

// A linePanel has a line for each series.
type linePanel struct {
	title, xLabel string
	tall          float64
	xLo, xHi, yHi float64
	xLog          bool
	shade         [2]float64 // from where to where, in x; none if they are the same
	shadeName     string
	lines         []curve
}

type curve struct {
	series int
	x, y   []float64
	dots   bool // mark the points
}

func (p linePanel) height() float64 { return p.tall }

func (p linePanel) draw(s *svg, f frame) {
	s.text(f.left, f.top-8, "strong", "start", p.title)
	f.left += 56
	f.right -= 24
	x, y := scale{p.xLo, p.xHi, p.xLog, f.left, f.right}, scale{0, p.yHi, false, f.bottom, f.top}
	if from, to := x.at(p.shade[0]), x.at(p.shade[1]); to > from {
		s.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#6e7781" opacity=".13"/>`, from, f.top, to-from, f.bottom-f.top)
		s.text((from+to)/2, f.top+14, "small", "middle", p.shadeName)
	}
	xAxis(s, f, x, p.xLabel)
	for _, v := range y.ticks() {
		s.line(f.left, y.at(v), f.right, y.at(v), "grid")
		s.text(f.left-8, y.at(v)+4, "small", "end", brief(v))
	}
	for _, c := range p.lines {
		var points strings.Builder
		for i := range c.x {
			fmt.Fprintf(&points, "%.1f,%.1f ", x.at(c.x[i]), y.at(c.y[i]))
			if c.dots {
				s.printf(`<circle cx="%.1f" cy="%.1f" r="4" class="f%d"/>`, x.at(c.x[i]), y.at(c.y[i]), c.series)
			}
		}
		s.printf(`<polyline points="%s" class="line l%d"/>`, strings.TrimSpace(points.String()), c.series)
	}
}
