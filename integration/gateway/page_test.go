package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page, before, during and after an incident of the real gateway: an
// upstream that goes away and comes back, and then a connection that goes
// dark with three streams on it.
func TestIncidentInABrowser(t *testing.T) {
	b := openTab(t)
	g := startGateway(t)
	page := g.base + "/debug/respawn?refresh=0"

	g.askUntil(http.StatusOK)
	before := g.state()
	require.Equal(t, "healthy", before.State)
	for _, s := range screens {
		b.use(s)
		b.visit(page)
		b.check(s, before)
		b.photograph("before-" + s.name)
	}

	stop := g.load()
	g.chaos("down")
	g.await("the upstream is down", func(s state) bool { return s.State == "recovering" && s.Rejections >= 3 })
	stop() // so that the page and what it is compared with are of one state
	g.await("nothing in flight", func(s state) bool { return s.InFlight == 0 })
	during := g.state()
	require.Equal(t, "recovering", during.State)
	require.Zero(t, during.Promotions)
	for _, s := range screens {
		b.use(s)
		b.visit(page)
		b.check(s, during)
		assert.Regexp(t, `^https://127\.0\.0\.1:[0-9]+$`, eval[string](b, `document.querySelector(".streaks td").innerText`))
		assert.Equal(t, "tripped", eval[string](b, `document.querySelector(".streaks .standing").innerText`))
		b.photograph("during-" + s.name)
	}

	g.chaos("none")
	g.askUntil(http.StatusOK)
	g.stream(3)
	g.chaos("blackhole")
	stop = g.load()
	g.await("a fresh transport", func(s state) bool { return s.State == "healthy" && s.Promotions == 1 })
	stop()
	g.await("nothing but the streams in flight", func(s state) bool { return s.InFlight == 3 })
	after := g.state()
	require.Len(t, after.DrainingGenerations, 1)
	require.EqualValues(t, 3, after.DrainingGenerations[0].InFlight, "the streams have not noticed yet")
	for _, s := range screens {
		b.use(s)
		b.visit(page)
		b.check(s, after)
		assert.Equal(t, "1", eval[string](b, `document.querySelector(".draining td").innerText`))
		assert.Contains(t, eval[string](b, `document.querySelector(".recreations .drained").innerText`), ", still draining")
		b.photograph("after-" + s.name)
	}
	// HTTP/2's own pings end what was on the dead connection.
	g.await("the drain's end", func(s state) bool { return len(s.DrainingGenerations) == 0 })
	b.use(screens[0])
	b.visit(page)
	b.check(screens[0], g.state())
	assert.Regexp(t, `^[0-9]+ requests in [0-9.]+ s$`, eval[string](b, `document.querySelector(".recreations .drained").innerText`))
	b.photograph("drained-desktop")
}

// check compares the page with the state that it should show.
func (b *tab) check(s screen, want state) {
	t := b.t
	t.Helper()
	assert.Equal(t, want.State, eval[string](b, `document.querySelector(".state").innerText`))
	assert.Equal(t, want.State+" · respawn", eval[string](b, `document.title`))
	assert.Equal(t, want.Summary, eval[string](b, `document.querySelector(".summary").innerText`))
	facts := eval[[]string](b, `[...document.querySelectorAll(".facts dd:first-of-type")].map(dd => dd.innerText)`)
	assert.Equal(t, []string{
		fmt.Sprint(want.InFlight), fmt.Sprint(want.Failures), fmt.Sprintf("%d promoted, %d rejected", want.Promotions, want.Rejections),
	}, facts[2:5])

	// One bar for each outage, hatched while it lasts, and its length within the picture.
	assert.EqualValues(t, len(want.EndedOutages), eval[int](b, `document.querySelectorAll(".plot rect.outage").length`))
	assert.EqualValues(t, len(want.OpenOutages), eval[int](b, `document.querySelectorAll(".plot rect.lasting").length`))
	assert.Empty(t, eval[[]string](b, outside), "a text is outside of the picture")
	assert.Empty(t, eval[[]string](b, overwritten), "a text of the picture is written over another")
	over := eval[string](b, `document.querySelector(".answers dd")?.innerText ?? ""`)
	switch {
	case len(want.OpenOutages) > 0:
		assert.Regexp(t, `^No: down for .+\.$`, over)
	case len(want.EndedOutages) > 0:
		assert.Regexp(t, `^Yes: it ended .+ ago\.$`, over)
	default:
		assert.Empty(t, over)
	}

	// One row and one mark for each recreation, and they say the same.
	outcomes := eval[[]string](b, `[...document.querySelectorAll(".recreations tbody tr")].map(tr => tr.querySelector(".outcome span").innerText)`)
	require.Len(t, outcomes, len(want.Recreations))
	marks := map[string]int{}
	for i, r := range want.Recreations {
		assert.Equal(t, r.Outcome, outcomes[len(outcomes)-1-i], "the newest comes first")
		marks[r.Outcome]++
	}
	for _, outcome := range []string{"promoted", "rejected"} {
		drawn := eval[[][]float64](b, `[...document.querySelectorAll(".plot use.`+outcome+`")].map(u => {
			const mark = u.getBoundingClientRect(), plot = u.closest("svg").getBoundingClientRect()
			return [mark.left - plot.left, plot.right - mark.right, mark.width]
		})`)
		assert.Len(t, drawn, marks[outcome], "%s on the timeline", outcome)
		for _, m := range drawn {
			assert.GreaterOrEqual(t, m[0], -5.0, "a mark is outside of the picture")
			assert.GreaterOrEqual(t, m[1], -5.0, "a mark is outside of the picture")
			assert.GreaterOrEqual(t, m[2], 6.0, "a mark is too small to be seen")
		}
	}

	// It fits, it can be read, and nothing is wrong.
	assert.Equal(t, s.width, eval[int64](b, `innerWidth`), "the viewport is the screen's width")
	assert.LessOrEqual(t, eval[int64](b, `document.documentElement.scrollWidth`), s.width, "nothing sticks out")
	assert.Empty(t, eval[[]string](b, overflowing), "nothing sticks out of its section")
	assert.Empty(t, eval[[]string](b, faint), "text without contrast")
	dark := eval[bool](b, `matchMedia("(prefers-color-scheme: dark)").matches`)
	assert.Equal(t, s.dark, dark)
	ground := eval[string](b, `getComputedStyle(document.body).backgroundColor`)
	assert.Equal(t, map[bool]string{false: "rgb(246, 247, 249)", true: "rgb(16, 20, 27)"}[s.dark], ground)
	assert.Zero(t, eval[int](b, `performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length`), "something was loaded from elsewhere")
	assert.Empty(t, b.complained())
}

// outside are the texts of the picture that reach beyond it, and overwritten those
// that another one is written over.
const (
	outside = `[...document.querySelectorAll(".plot text")].filter(e => {
		const r = e.getBoundingClientRect(), plot = e.closest("svg").getBoundingClientRect()
		return r.left < plot.left - 1 || r.right > plot.right + 1 || r.top < plot.top - 1 || r.bottom > plot.bottom + 1
	}).map(e => e.textContent)`
	overwritten = `[...document.querySelectorAll(".plot text")].filter((e, i, all) => all.slice(i + 1).some(o => {
		const a = e.getBoundingClientRect(), b = o.getBoundingClientRect()
		return a.left < b.right && b.left < a.right && a.top + 3 < b.bottom && b.top + 3 < a.bottom
	})).map(e => e.textContent)`
)

// overflowing are the elements that stick out of their section.
const overflowing = `[...document.querySelectorAll("section")].flatMap(s => {
	const room = s.getBoundingClientRect()
	return [...s.querySelectorAll("*:not(svg *):not(thead, thead *)")].filter(e => {
		const r = e.getBoundingClientRect()
		return r.width > 0 && (r.left < room.left - 1 || r.right > room.right + 1)
	}).map(e => e.tagName + "." + e.className + ": " + e.textContent.slice(0, 40))
})`

// faint are the texts whose contrast with what is behind them is less than
// 4.5 to 1.
const faint = `(() => {
	const rgb = c => c.match(/[0-9.]+/g).map(Number)
	const luminance = c => rgb(c).slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
	const ground = e => {
		for (; e; e = e.parentElement) {
			const c = getComputedStyle(e).backgroundColor
			if (rgb(c)[3] !== 0) return c
		}
		return "rgb(255, 255, 255)"
	}
	return [...document.querySelectorAll("body *")].filter(e =>
		[...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length > 0 && !["title", "desc"].includes(e.tagName)
	).filter(e => {
		const style = getComputedStyle(e), svg = e instanceof SVGElement
		const a = luminance(svg ? style.fill : style.color), b = luminance(ground(e))
		return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5
	}).map(e => e.tagName + ": " + e.textContent.slice(0, 40))
})()`

// The page loads itself again, until it is told not to.
func TestPageRefreshesItself(t *testing.T) {
	b := openTab(t)
	g := startGateway(t)
	g.askUntil(http.StatusOK)
	b.use(screens[0])
	b.visit(g.base + "/debug/respawn?refresh=1")
	require.Equal(t, "healthy", eval[string](b, `document.querySelector(".state").innerText`))
	g.chaos("down")
	for range 4 {
		require.NotEqual(t, http.StatusOK, g.ask())
	}
	stateShown := `document.querySelector(".state")?.innerText ?? ""` // a page that is being loaded has none
	require.Eventually(t, func() bool { return b.shown(stateShown) == "recovering" }, patience, 100*time.Millisecond,
		"nobody has touched the page")

	require.Eventually(t, func() bool { // a click is lost on a page that is about to be loaded again
		if strings.HasSuffix(b.shown(`location.href`), "?refresh=0") {
			return true
		}
		b.tryClick(`a[href="?refresh=0"]`)
		return false
	}, patience, 200*time.Millisecond)
	g.chaos("none")
	g.askUntil(http.StatusOK)
	require.Equal(t, "healthy", g.state().State)
	time.Sleep(2 * time.Second) // the point is that nothing happens
	assert.Equal(t, "recovering", eval[string](b, `document.querySelector(".state").innerText`), "a page that was paused stays")
	b.click(`a[href="?"]`)
	require.Eventually(t, func() bool { return b.shown(stateShown) == "healthy" }, patience, 50*time.Millisecond)
	assert.Empty(t, b.complained())
}

// Whoever forbids scripts sees the same page, and the page itself forbids them.
func TestPageNeedsNoScript(t *testing.T) {
	b := openTab(t)
	g := startGateway(t)
	g.askUntil(http.StatusOK)
	b.use(screens[0])
	b.allowScripts(false)
	b.visit(g.base + "/debug/respawn?refresh=0")
	assert.Equal(t, "healthy", eval[string](b, `document.querySelector(".state").innerText`))
	b.click(`summary`)
	assert.True(t, eval[bool](b, `document.querySelector("details").open`))
	assert.Empty(t, b.complained())

	b.allowScripts(true)
	b.visit(g.base + "/debug/respawn?refresh=0")
	eval[bool](b, `(() => {
		const script = document.createElement("script")
		script.textContent = "window.ran = true"
		document.body.append(script)
		const image = document.createElement("img")
		image.src = "/metrics"
		document.body.append(image)
		return true
	})()`)
	assert.False(t, eval[bool](b, `window.ran === true`), "a script has run")
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.complaints) >= 2
	}, patience, 10*time.Millisecond)
	for _, complaint := range b.complained() {
		assert.Contains(t, complaint, "Content Security Policy")
	}
}

// What the page says can be heard, also where its tables have become cards.
func TestPageCanBeHeard(t *testing.T) {
	b := openTab(t)
	g := startGateway(t)
	g.askUntil(http.StatusOK)
	g.chaos("down")
	for range 4 {
		g.ask()
	}
	for _, s := range screens {
		b.use(s)
		b.visit(g.base + "/debug/respawn?refresh=0")
		headings := b.heard("heading")
		require.Len(t, headings, 6, s.name)
		assert.Regexp(t, `^respawn [0-9.]+`, headings[0])
		assert.Equal(t, []string{"upstream", "Timeline", "Outages", "Under suspicion", "Recreations"}, headings[1:], s.name)
		assert.Len(t, b.heard("table"), 3, s.name)
		assert.Equal(t, []string{
			"Authority", "Lasted", "From", "Until", "Trigger", "End",
			"Authority", "State", "Failures", "Stalls", "Since",
			"When", "Outcome", "Trigger", "Authority", "Generation", "Failures", "Took", "Outage", "Drained",
		}, b.heard("columnheader"), s.name)
		images := b.heard("image")
		require.Len(t, images, 1, s.name)
		assert.Regexp(t, `^1 outage, ([2-9] recreations|1 recreation) since [0-9:]+$`, images[0], "by how long the four took")
		assert.Equal(t, []string{"upstream"}, b.heard("region"), s.name)
	}
}
