package respawn_test

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/respawnhttp/respawn"
)

// The exported API of each package is what api/ says: a change of it is a
// decision, which `make api-accept` writes down and a reviewer sees.
func TestExportedAPI(t *testing.T) {
	for name, dir := range map[string]string{"respawn": ".", "respawndebug": "respawndebug", "respawntest": "respawntest"} {
		got := exported(t, dir)
		file := filepath.Join("api", name+".txt")
		if os.Getenv("ACCEPT_API") != "" {
			require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, "the API of %s has changed: if that is meant, `make api-accept`", name)
	}
}

func goFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	return files
}

// exported lists what a package exports, sorted, without bodies, comments and the
// values of variables. Methods of types that are not exported are left out, as are
// unexported fields.
func exported(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	for _, name := range goFiles(t, dir) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.FileExports(file) // drops what is not exported, unexported fields too
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Recv != nil && !ast.IsExported(receiver(decl)) {
					continue
				}
				decl.Body = nil
			case *ast.GenDecl:
				switch decl.Tok {
				case token.IMPORT:
					continue
				case token.VAR:
					dropValues(t, decl)
				}
			}
			var text strings.Builder
			require.NoError(t, format.Node(&text, fset, decl))
			// Comments have left blank lines. Version is another one each time.
			lines := strings.FieldsFunc(text.String(), func(r rune) bool { return r == '\n' })
			all = append(all, strings.Replace(strings.Join(lines, "\n"), strconv.Quote(respawn.Version), "...", 1))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n\n") + "\n"
}

// dropValues leaves of variables what is API: their names and types.
func dropValues(t *testing.T, vars *ast.GenDecl) {
	t.Helper()
	for _, spec := range vars.Specs {
		spec := spec.(*ast.ValueSpec)
		require.NotNil(t, spec.Type, "%v: an exported variable declares its type", spec.Names)
		spec.Values = nil
	}
}

func receiver(method *ast.FuncDecl) string {
	typ := method.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	return typ.(*ast.Ident).Name
}

// README's quickstarts are parts of Examples, its table of options is whole, and every
// test that it names is there.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(b)
	assert.LessOrEqual(t, len(strings.Fields(readme)), 1500, "words: say the rest on a page of docs")

	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme, -1)
	require.GreaterOrEqual(t, len(blocks), 2)
	for _, block := range blocks[:2] {
		indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(strings.TrimSpace(block[1]), "\t$1")
		assert.True(t, strings.Contains(string(example), indented), "%s\nThe snippet is to be a part of an Example, which compiles and runs", block[1])
	}
	assert.LessOrEqual(t, strings.Count(readme[:strings.Index(readme, blocks[0][1])], "\n")+1, 25, "on the first screen")

	declared := map[string]bool{}
	for _, name := range append(goFiles(t, "."), goFiles(t, "test")...) {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				declared[fn.Name.Name] = true
				if strings.HasPrefix(fn.Name.Name, "With") && !strings.HasSuffix(name, "_test.go") {
					assert.True(t, strings.Contains(readme, "`"+fn.Name.Name+"`"), "README has no %s", fn.Name.Name)
				}
			}
		}
	}
	for _, name := range regexp.MustCompile("`(Test[A-Za-z]+|With[A-Za-z]+)`").FindAllStringSubmatch(readme, -1) {
		assert.True(t, declared[name[1]], "README names %s", name[1])
	}
}
