package layers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stateTypes are the types of the core whose values are the states of something: of an authority,
// a candidate, an attempt and a waiting call. (What is reported of a state, in a field that is exported, is a copy.)
var stateTypes = []string{"State", "Stage", "role", "waiting"}

// Every state has a name, and one function that sets it: who looks for what moves an authority, or
// any of the others, on looks for the calls of that function.
func TestEveryStateHasOneSetter(t *testing.T) {
	var core []*ast.File
	for _, f := range files(t) {
		if !f.other && f.folder == "internal/core" {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f.name), nil, 0)
			require.NoError(t, err)
			core = append(core, parsed)
		}
	}
	got := setters(core)
	assert.Equal(t, map[string][]string{"state": {"suspect.moveTo"}, "stage": {"candidate.moveTo"}, "role": {"Attempt.moveTo"}, "waiting": {"Call.moveTo"}}, got)
}

func TestWhatSetsAState(t *testing.T) {
	const types = "package core; type State int; type s struct { state State; other int }; type About struct { State State }\n"
	for source, want := range map[string][]string{
		`func (p *s) moveTo(to State) { p.state = to }`:              {"s.moveTo"},
		`func f(p *s) { p.other, p.state = 1, 2 }`:                   {"f"},
		`func f(p *s) { p.state++ }`:                                 {"f"},
		`func f() { _ = &s{other: 1, state: 2} }`:                    {"f"},
		`var all = []s{{state: 1}}`:                                  {"all"},
		`func f(p *s) { change(&p.state) }`:                          {"f"},
		`func f(p *s) bool { return p.state == 1 }`:                  nil,
		`func f(p *s) About { return About{State: p.state} }`:        nil,
		`func f(p *s) { p.state = 1 }; func g(p *s) { f(p) }`:        {"f"},
		`func f(p *s) { p.state = 1 }; func g(p *s) { p.state = 2 }`: {"f", "g"},
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "core.go", types+source, 0)
		require.NoError(t, err, source)
		assert.Equal(t, want, setters([]*ast.File{f})["state"], source)
	}
}

// setters returns, for each field that holds a state, the functions that may set it.
func setters(files []*ast.File) map[string][]string {
	by := map[string][]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok {
				for _, name := range stateFields(s) {
					by[name] = nil
				}
			}
			return true
		})
	}
	for _, f := range files {
		for _, d := range f.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				for _, name := range sets(n) {
					if all, ok := by[name]; ok {
						by[name] = append(all, nameOf(d))
					}
				}
				return true
			})
		}
	}
	for name, all := range by {
		slices.Sort(all)
		by[name] = slices.Compact(all)
	}
	return by
}

// stateFields are the fields of s that hold a state.
func stateFields(s *ast.StructType) (names []string) {
	for _, f := range s.Fields.List {
		if typ, ok := f.Type.(*ast.Ident); !ok || !slices.Contains(stateTypes, typ.Name) {
			continue
		}
		for _, name := range f.Names {
			if !name.IsExported() {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

// sets are the fields that n sets, or lets others set.
func sets(n ast.Node) (names []string) {
	var fields []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		fields = n.Lhs
	case *ast.IncDecStmt:
		fields = []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			fields = []ast.Expr{n.X}
		}
	case *ast.KeyValueExpr:
		if name, ok := n.Key.(*ast.Ident); ok {
			return []string{name.Name}
		}
	}
	for _, f := range fields {
		if f, ok := f.(*ast.SelectorExpr); ok {
			names = append(names, f.Sel.Name)
		}
	}
	return names
}

// nameOf is a function's name, after its receiver's type; or that of the first variable.
func nameOf(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return d.Name.Name
		}
		typ := d.Recv.List[0].Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		if name, ok := typ.(*ast.Ident); ok {
			return name.Name + "." + d.Name.Name
		}
		return d.Name.Name
	case *ast.GenDecl:
		if v, ok := d.Specs[0].(*ast.ValueSpec); ok {
			return v.Names[0].Name
		}
	}
	return "?"
}
