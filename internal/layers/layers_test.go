// Package layers holds the repository to its plan: which package may import which, what
// the core may do, and how many files may lie in the root. It has only tests.
package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/respawnhttp/respawn"
	root   = "../.."
)

// Arrows point down only: a package may import what is in a row below its own,
// and nothing beside it.
var layers = [][]string{
	{"internal/mutants", "test"},
	{"respawndebug", "respawntest"},
	{"internal/sim"},
	{"."},
	{"internal/call"},
	{"internal/gate", "internal/history", "internal/hook"},
	{"internal/generation", "internal/patience"},
	{"internal/build"},
	{"internal/config"},
	{"internal/names"},
	{"internal/evidence"},
	{"internal/body"},
	{"internal/core"},
	{"internal/testkit", "internal/testnet"}, // below all, so that the tests of each layer can have them
}

var (
	// No part of the library: only tests import these, those of any layer, and
	// respawntest, with which users test.
	forTests = []string{"internal/sim", "internal/testkit", "internal/testnet", "test"}
	// What other modules, examples above all, can have: what users have.
	public = []string{".", "respawndebug", "respawntest"}
)

// row is where pkg, a folder, stands in layers, counted from the top; -1 for nowhere.
func row(pkg string) int {
	return slices.IndexFunc(layers, func(row []string) bool { return slices.Contains(row, pkg) })
}

// wrong says why from may not import to, both folders of the module; but if other
// holds, from is one of another module.
func wrong(from, to string, other bool) string {
	switch {
	case other && !slices.Contains(public, to):
		return "imports " + to + ", which is not public"
	case other:
		return ""
	case slices.Contains(forTests, to) && !slices.Contains(forTests, from) && from != "respawntest":
		return "imports " + to + ", which is for tests"
	case row(from) >= row(to):
		return "imports " + to + ", which is not in a row below its own"
	}
	return ""
}

func TestArrowsPointDown(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range files(t) {
		seen[f.folder] = true
		if !f.other && !assert.NotEqual(t, -1, row(f.folder), "%s is in a folder without a place: give it one in layers, in internal/layers/layers_test.go", f.name) {
			continue
		}
		for _, to := range f.ours {
			assert.Empty(t, wrong(f.folder, to, f.other), f.name)
		}
	}
	assert.True(t, seen["."] && seen["respawndebug"], "the tree was found")
}

func TestWhatIsWrong(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		other    bool
		want     string
	}{
		{from: ".", to: "internal/gate"},
		{from: ".", to: "internal/core"},
		{from: "respawndebug", to: "."},
		{from: "respawntest", to: "internal/testnet"},
		{from: "internal/sim", to: "internal/testnet"},
		{from: "examples/chain", to: ".", other: true},
		{from: "internal/core", to: "internal/gate", want: "not in a row below"},
		{from: "internal/build", to: "internal/generation", want: "not in a row below"},
		{from: ".", to: "respawndebug", want: "not in a row below"},
		{from: "internal/testkit", to: ".", want: "not in a row below"},
		{from: ".", to: "internal/testkit", want: "for tests"},
		{from: ".", to: "internal/testnet", want: "for tests"},
		{from: "respawndebug", to: "internal/sim", want: "for tests"},
		{from: "examples/chain", to: "internal/core", other: true, want: "not public"},
	} {
		got := wrong(tc.from, tc.to, tc.other)
		if tc.want == "" {
			assert.Empty(t, got, "%s imports %s", tc.from, tc.to)
		} else {
			assert.Contains(t, got, tc.want, "%s imports %s", tc.from, tc.to)
		}
	}
}

// The core is given time and chance, and waits for nobody.
func TestTheCoreIsPure(t *testing.T) {
	for _, f := range files(t) {
		if !f.other && within(f.folder, "internal/core") {
			fset := token.NewFileSet()
			parsed, err := parser.ParseFile(fset, filepath.Join(root, f.name), nil, 0)
			require.NoError(t, err)
			assert.Empty(t, impure(fset, parsed), f.name)
		}
	}
}

func TestWhatIsImpure(t *testing.T) {
	for source, want := range map[string]string{
		`import "time"; func f(t, u time.Time) bool { return t.After(u) }`:        "",
		`import ("cmp"; "errors"; "iter"; "maps"; "math"; "math/bits"; "slices")`: "",
		`import "sync"`:                                  "imports sync",
		`import "math/rand/v2"`:                          "imports math/rand/v2",
		`import clock "time"`:                            "imports time by another name",
		`import . "time"`:                                "imports time by another name",
		`func f() { go f() }`:                            "a go statement",
		`type t struct { c chan int }`:                   "a channel",
		`type q[C ~chan int] struct{}`:                   "a channel",
		`func f() { select {} }`:                         "a select",
		`import "time"; func f(t *time.Timer) { <-t.C }`: "a receive",
		`func f(c c) { c <- 1 }`:                         "a send",
		`import "time"; var now = time.Now`:              "time.Now",
		`import "time"; var _ = time.Since(then)`:        "time.Since",
		`import "time"; var _ = time.Until(then)`:        "time.Until",
		`import "time"; var _ = time.After(1)`:           "time.After",
		`import "time"; var _ = time.AfterFunc(1, f)`:    "time.AfterFunc",
		`import "time"; var _ = time.NewTimer(1)`:        "time.NewTimer",
		`import "time"; var _ = time.NewTicker(1)`:       "time.NewTicker",
		`import "time"; var _ = time.Tick(1)`:            "time.Tick",
		`import "time"; func f() { time.Sleep(1) }`:      "time.Sleep",
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "core.go", "package core\n"+source, 0)
		require.NoError(t, err, source)
		if got := impure(fset, f); want == "" {
			assert.Empty(t, got, source)
		} else if assert.Len(t, got, 1, source) {
			assert.Contains(t, got[0], want, source)
		}
	}
}

// impure lists what of f the core may not have, and where.
func impure(fset *token.FileSet, f *ast.File) []string {
	allowed := []string{"cmp", "errors", "iter", "maps", "math", "math/bits", "slices", "time"}
	clock := []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
	var found []string
	ast.Inspect(f, func(n ast.Node) bool {
		what := ""
		switch n := n.(type) {
		case *ast.ImportSpec:
			if name, _ := strconv.Unquote(n.Path.Value); !slices.Contains(allowed, name) {
				what = "imports " + name
			} else if n.Name != nil {
				what = "imports " + name + " by another name, by which it is not known here"
			}
		case *ast.GoStmt:
			what = "a go statement"
		case *ast.ChanType:
			what = "a channel"
		case *ast.SelectStmt:
			what = "a select"
		case *ast.SendStmt:
			what = "a send"
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				what = "a receive"
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
				what = "time." + n.Sel.Name
			}
		}
		if what != "" {
			found = append(found, fmt.Sprintf("line %d: %s", fset.Position(n.Pos()).Line, what))
		}
		return true
	})
	return found
}

// A file is one of Go that is no test.
type file struct {
	name, folder string   // from the root
	other        bool     // it is of another module, in a folder of this one
	ours         []string // what it imports of this module, by folder
}

// files walks the tree as go does, and on into the other modules.
func files(t *testing.T) []file {
	t.Helper()
	var all []file
	var modules []string
	require.NoError(t, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		base := path.Base(name)
		switch {
		case d.IsDir() && name != "." && (base == "testdata" || base[0] == '.' || base[0] == '_'):
			return filepath.SkipDir
		case base == "go.mod" && name != base:
			modules = append(modules, path.Dir(name))
		case !d.IsDir() && path.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go"):
			all = append(all, file{name: name, folder: path.Dir(name)})
		}
		return nil
	}))
	other := func(folder string) bool {
		return slices.ContainsFunc(modules, func(m string) bool { return within(folder, m) })
	}
	for i := range all {
		f := &all[i]
		f.other = other(f.folder)
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f.name), nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if to, ours := strings.CutPrefix(name+"/", module+"/"); ours && !other(path.Clean(to)) {
				f.ours = append(f.ours, path.Clean(to))
			}
		}
	}
	return all
}

// within reports whether folder is dir or below it.
func within(folder, dir string) bool {
	return folder == dir || strings.HasPrefix(folder, dir+"/")
}
