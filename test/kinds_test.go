package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever can be reported as a trigger, an outcome or an error type is among the
// exported constants, so that a switch over them misses nothing.
func TestEveryKindThatIsReportedIsAConstant(t *testing.T) {
	constants := typedConstants(t, "../kinds.go")
	require.Len(t, constants["Outcome"], 2)

	reported := map[string]bool{}
	for _, pkg := range []string{"core", "evidence", "gate", "call"} {
		for kind := range kindsOf(t, filepath.Join("..", "internal", pkg)) {
			reported[kind] = true
		}
	}
	for _, known := range []string{"connection_refused", "stall", "max_age", "upstream_slow", "factory_error"} {
		require.Contains(t, reported, known, "the search of the sources finds nothing any more")
	}
	for kind := range kindsOf(t, "../internal/build") {
		reported[kind] = true
	}
	for kind := range errorKinds(t) {
		assert.Contains(t, constants["Trigger"], kind)
		if kind != "_OTHER" {
			reported["factory_"+kind] = true // by gate's factoryKind
		}
	}
	for kind := range reported {
		if !constants["Trigger"][kind] && !constants["ErrorType"][kind] && !constants["OutageEnd"][kind] {
			t.Errorf("%q is no constant of kinds.go", kind)
		}
	}
	for kind := range constants["ErrorType"] {
		assert.NotContains(t, constants["Trigger"], kind, "one name, one place")
	}
}

// typedConstants are the string constants of a file, by the name of their type.
func typedConstants(t *testing.T, file string) map[string]map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	require.NoError(t, err)
	all := map[string]map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			typ := spec.Type.(*ast.Ident).Name
			if all[typ] == nil {
				all[typ] = map[string]bool{}
			}
			all[typ][text(spec.Values[0])] = true
		}
		return true
	})
	return all
}

// kindsOf are the kinds that a package names: its string constants, what it reports
// as a Trigger or a Kind, and faults of factories.
func kindsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	kinds := map[string]bool{}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				for _, spec := range n.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && n.Tok == token.CONST && len(v.Values) == 1 {
						kinds[text(v.Values[0])] = true
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && (key.Name == "Trigger" || key.Name == "Kind") {
					kinds[text(n.Value)] = true
				}
			case *ast.BasicLit:
				if s := text(n); strings.HasPrefix(s, "factory_") && s != "factory_" {
					kinds[s] = true
				}
			}
			return true
		})
	}
	delete(kinds, "")
	return kinds
}

// errorKinds are those that evidence.TriggerOf names an error by.
func errorKinds(t *testing.T) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../internal/evidence/trigger.go", nil, 0)
	require.NoError(t, err)
	values, kinds := map[string]string{}, map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			values[n.Names[0].Name] = text(n.Values[0])
		case *ast.ReturnStmt:
			if name, ok := n.Results[0].(*ast.Ident); ok {
				kinds[values[name.Name]] = true
			}
		}
		return true
	})
	require.Contains(t, kinds, "connection_refused")
	return kinds
}

// text is the value of a string literal; "" for anything else.
func text(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}
