package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	logdomain "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A tab is one of a headless Chromium, with all that it complains about.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// openTab starts a Chromium of the test's own.
func openTab(t *testing.T) *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("there is no Chromium: run make deps")
		}
		t.Skip("there is no Chromium: make deps installs it")
	}
	profile, err := os.MkdirTemp("", "respawn-chromium-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("hide-scrollbars", true))
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.listen))
	_, err = chromedp.Call(ctx, logdomain.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

// listen keeps errors and warnings: of scripts, of the console, and those of
// the browser itself, a violated Content-Security-Policy among them.
func (b *tab) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *logdomain.EventEntryAdded:
		if e.Entry.Level == logdomain.EntryLevelError || e.Entry.Level == logdomain.EntryLevelWarning {
			complaint = fmt.Sprint(e.Entry.Source, ": ", e.Entry.Text)
		}
	case *runtime.EventConsoleAPICalled:
		complaint = fmt.Sprint("console.", e.Type)
	case *runtime.EventExceptionThrown:
		complaint = "exception: " + e.ExceptionDetails.Text
	}
	if complaint != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.complaints = append(b.complaints, complaint)
	}
}

// complained returns what there was to complain about since it was last called.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	said := b.complaints
	b.complaints = nil
	return said
}

func (b *tab) visit(url string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(url)))
}

// eval returns what a JavaScript expression is on the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// shown is what a JavaScript expression is on a page that loads itself again: while it is
// being loaded, nothing.
func (b *tab) shown(expression string) string {
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		return ""
	}
	return v
}

// screen is what somebody looks at the page on.
type screen struct {
	name          string
	width, height int64
	mobile, dark  bool
}

var screens = []screen{
	{name: "desktop", width: 1280, height: 640},
	{name: "desktop-dark", width: 1280, height: 640, dark: true},
	{name: "narrow", width: 1101, height: 640}, // the least that a table has
	{name: "tablet", width: 768, height: 1024, mobile: true},
	{name: "phone", width: 390, height: 844, mobile: true},
	{name: "small-phone-dark", width: 360, height: 780, mobile: true, dark: true},
}

func (b *tab) use(s screen) {
	b.t.Helper()
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.width, Height: s.height, DeviceScaleFactor: 1, Mobile: s.mobile,
	})
	require.NoError(b.t, err)
	_, err = chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(b.t, err)
}

func (b *tab) allowScripts(allowed bool) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !allowed})
	require.NoError(b.t, err)
}

// photograph keeps a picture of the whole page.
func (b *tab) photograph(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	dir := os.Getenv("RESPAWN_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "artifacts")
	}
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, "debug-page-"+name+".png"), png, 0o644))
}

// heard returns the names of what has the role, as a screen reader would hear
// them.
func (b *tab) heard(role string) (names []string) {
	b.t.Helper()
	tree, err := chromedp.Call(b.ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	require.NoError(b.t, err)
	for _, n := range tree.Nodes {
		if n.Ignored || n.Role == nil || text(b.t, n.Role) != role {
			continue
		}
		name := ""
		if n.Name != nil {
			name = text(b.t, n.Name)
		}
		names = append(names, name)
	}
	return names
}

func text(t *testing.T, v *accessibility.Value) (s string) {
	t.Helper()
	if len(v.Value) > 0 {
		require.NoError(t, json.Unmarshal(v.Value, &s))
	}
	return s
}

// click clicks on the middle of an element, as a mouse does.
func (b *tab) click(selector string) {
	b.t.Helper()
	require.NoError(b.t, b.tryClick(selector))
}

func (b *tab) tryClick(selector string) error {
	at, err := chromedp.Run(b.ctx, chromedp.Evaluate[[2]float64](`(() => {
		const r = document.querySelector(`+strconv.Quote(selector)+`).getBoundingClientRect()
		return [r.left + r.width / 2, r.top + r.height / 2]
	})()`))
	if err != nil {
		return err
	}
	return chromedp.Do(b.ctx, chromedp.MouseClickXY(at[0], at[1]))
}
