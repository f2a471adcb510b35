//go:build !race

package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryAssertionHasAPlant: what the explorer asserts is named by the format of a must, by a
// sequel, and by what a sequel wants. Each has its planted bug, and each planted bug its assertion.
func TestEveryAssertionHasAPlant(t *testing.T) {
	formats, wants := assertions(t)
	has := map[string]bool{}
	for _, p := range plants() {
		has[p.notice] = true
		name, want, of := strings.Cut(p.notice, ": ")
		if of {
			has[name], has[want] = true, true
		}
		known := slices.ContainsFunc(sequels, func(s sequel) bool { return s.name == name })
		if !slices.Contains(formats, p.notice) && !(known && slices.Contains(wants, want)) {
			t.Errorf("%s: nothing asserts %q", p.name, p.notice)
		}
	}
	for _, s := range sequels {
		if s.want != nil {
			wants = append(wants, s.name)
		}
	}
	all := slices.Concat(formats, wants)
	for _, what := range all {
		if !has[what] {
			t.Errorf("no planted bug is for %q", what)
		}
	}
	t.Logf("%d assertions, %d planted bugs", len(all), len(plants()))
}

// assertions reads the explorer's files: the formats of its musts, and what its sequels may say.
func assertions(t *testing.T) (formats, wants []string) {
	files, err := filepath.Glob("explore_*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			formats = append(formats, musts(f)...)
			if isWant(f) {
				wants = append(wants, said(f)...)
			}
		}
	}
	return distinct(formats), distinct(wants)
}

func distinct(all []string) []string {
	slices.Sort(all)
	return slices.Compact(all)
}

// musts are the formats of the assertions that f makes.
func musts(f *ast.FuncDecl) (formats []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) < 2 {
			return true
		}
		if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "must" {
			formats = append(formats, literal(call.Args[1]))
		}
		return true
	})
	return formats
}

// isWant reports whether f says what a sequel finds: it takes a tally.
func isWant(f *ast.FuncDecl) bool {
	for _, p := range f.Type.Params.List {
		if star, ok := p.Type.(*ast.StarExpr); ok {
			if name, ok := star.X.(*ast.Ident); ok && name.Name == "tally" {
				return true
			}
		}
	}
	return false
}

// said are the strings that f returns, but for the empty one.
func said(f *ast.FuncDecl) (all []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) == 1 {
			if s := literal(r.Results[0]); s != "" {
				all = append(all, s)
			}
		}
		return true
	})
	return all
}

// literal is the value of a string literal; empty: e is none.
func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		s, _ := strconv.Unquote(l.Value)
		return s
	}
	return ""
}
