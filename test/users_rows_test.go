package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptrace"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
	"github.com/respawnhttp/respawn/internal/names"
	"github.com/respawnhttp/respawn/internal/testkit"
)

// What is complete about the rows of users_test.go, and that each does what it says.

// What only New asks costs that call, and leaves nothing behind: the next New makes a client.
func TestWhatMisbehavesInNewCostsThatCall(t *testing.T) {
	for _, p := range methodsOfThings(true) {
		for _, how := range misdeeds {
			t.Run(p.name+" "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					u := &user{how: how, what: p.method, early: true, start: time.Now()}
					var known names.Registry
					probe := testkit.NewProbe(t)
					open := func(u *user) (rt *respawn.RecoveringRoundTripper) {
						done := make(chan struct{})
						go func() {
							defer close(done)
							defer func() { _ = recover() }()
							rt, _ = respawn.New(&testkit.Stub{}, respawn.WithFactory(stubs().Make),
								respawn.WithMeterProvider(theirMeters{u: u}), respawn.WithLogger(probe.Logger()), namesIn(&known))
						}()
						<-done
						return rt
					}
					rt := open(u)
					assert.Positive(t, u.acted.Load())
					if how == "blocks" {
						require.NotNil(t, rt)
					}
					if rt != nil {
						require.NoError(t, rt.Close())
					}
					rt = open(nil)
					require.NotNil(t, rt)
					_, err := get(t.Context(), rt, "http://a.test/")
					require.NoError(t, err)
					require.NoError(t, rt.Close())
					assert.Empty(t, probe.Warnings())
					time.Sleep(2 * ends)
				})
			})
		}
	}
}

// Each option has its row, and each row its option. A row that has a value for its option would be
// no test of an option that takes code.
func TestEachOptionHasItsRowAmongWhatIsTheUsers(t *testing.T) {
	declared, code := optionsOf(t)
	var rows []string
	for _, p := range slices.Concat(possessions, methodsOfThings(false)) {
		if p.option == "" {
			continue
		}
		rows = append(rows, p.option)
		assert.Equal(t, p.tame, !slices.Contains(code, p.option), "%s: an option of code, and only of code, has a row that misbehaves", p.option)
	}
	slices.Sort(declared)
	slices.Sort(rows)
	require.Greater(t, len(declared), 10)
	assert.Equal(t, declared, slices.Compact(rows))
}

// optionsOf returns all options, and those of them that take more than a value.
func optionsOf(t *testing.T) (all, code []string) {
	for _, f := range parsed(t, "..", "*.go") {
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "With") || fn.Type.Results == nil {
				continue
			}
			if result, ok := fn.Type.Results.List[0].Type.(*ast.Ident); !ok || result.Name != "Option" {
				continue
			}
			all = append(all, fn.Name.Name)
			if slices.ContainsFunc(fn.Type.Params.List, func(p *ast.Field) bool { return !isValue(p.Type) }) {
				code = append(code, fn.Name.Name)
			}
		}
	}
	return all, code
}

func isValue(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return slices.Contains([]string{"int", "string", "Replay"}, e.Name)
	case *ast.SelectorExpr:
		return fmt.Sprint(e.X, ".", e.Sel) == "time.Duration"
	}
	return false
}

// parsed are the files of a folder that are no tests.
func parsed(t *testing.T, dir, pattern string) (files []*ast.File) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	for _, name := range paths {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	return files
}

// Each method of each thing misbehaves where its row says so, and only there.
func TestEachMethodOfWhatIsTheUsersMisbehaves(t *testing.T) {
	for _, th := range things {
		for row := range th.methods.Methods() {
			if !row.IsExported() {
				continue
			}
			for m := range th.methods.Methods() {
				if m.IsExported() {
					u := &user{how: "panics", what: row.Name, start: time.Now().Add(-time.Second)}
					it := reflect.ValueOf(th.make(u))
					require.True(t, it.Type().Implements(th.methods), "%s", th.name)
					assert.Equal(t, m.Name == row.Name, misbehavesAt(it.MethodByName(m.Name)), "%s: %s in the row of %s", th.name, m.Name, row.Name)
				}
			}
		}
		for _, name := range th.never {
			_, ok := th.methods.MethodByName(name)
			assert.True(t, ok, "%s has no %s", th.name, name)
		}
	}
	for hook := range reflect.TypeFor[httptrace.ClientTrace]().Fields() {
		u := &user{how: "panics", what: hook.Name, start: time.Now().Add(-time.Second)}
		assert.True(t, misbehavesAt(reflect.ValueOf(theirTrace(u)).Elem().FieldByIndex(hook.Index)), "%s", hook.Name)
	}
}

func misbehavesAt(f reflect.Value) (panicked bool) {
	defer func() { panicked = recover() == any("the user's") }()
	f.Call(zeros(f.Type()))
	return false
}

// What the library asks a value whether it has, by an interface without a name, is a method of a thing.
func TestEachMethodThatMayBeThereHasItsRow(t *testing.T) {
	rows := []string{
		"Len", // of the standard library's own readers
	}
	for _, p := range methodsOfThings(false) {
		rows = append(rows, p.method)
	}
	asked := 0
	for _, f := range library(t) {
		for _, method := range mayBeThere(f) {
			asked++
			assert.Contains(t, rows, method, "%s", f.Name)
		}
	}
	assert.Greater(t, asked, 8)
}

// What a request brings that can run is a body, GetBody, and its context.
func TestWhatARequestBringsHasItsRow(t *testing.T) {
	var code []string
	for field := range reflect.TypeFor[http.Request]().Fields() {
		if kind := field.Type.Kind(); kind == reflect.Func || kind == reflect.Interface {
			code = append(code, field.Name)
		}
	}
	assert.ElementsMatch(t, []string{"Body", "GetBody", "ctx"}, code)
}

// library are the files of what a client is made of.
func library(t *testing.T) (files []*ast.File) {
	own := []string{"mutants", "sim", "testkit", "testnet", "tools", "layers"}
	files = parsed(t, "..", "*.go")
	require.NoError(t, filepath.WalkDir("../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if slices.Contains(own, d.Name()) {
			return fs.SkipDir
		}
		files = append(files, parsed(t, path, "*.go")...)
		return nil
	}))
	return files
}

// mayBeThere are the methods of f's interfaces that have no name.
func mayBeThere(f *ast.File) (methods []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if _, named := n.(*ast.TypeSpec); named {
			return false
		}
		if i, ok := n.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				for _, name := range m.Names {
					methods = append(methods, name.Name)
				}
			}
		}
		return true
	})
	return methods
}
