package respawn

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The exported API of each package is what api/ says: a change of it is a
// decision, which `make api-accept` writes down and a reviewer sees.
func TestExportedAPI(t *testing.T) {
	for name, dir := range map[string]string{"respawn": ".", "respawndebug": "respawndebug"} {
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

// exported lists what a package exports, sorted, without bodies and comments: methods
// of types that are not exported are left out, as are unexported fields.
func exported(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var all []string
	for _, name := range files {
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
				if decl.Tok == token.IMPORT {
					continue
				}
			}
			var text strings.Builder
			require.NoError(t, format.Node(&text, fset, decl))
			// Comments have left blank lines. Version is another one each time.
			lines := strings.FieldsFunc(text.String(), func(r rune) bool { return r == '\n' })
			all = append(all, strings.Replace(strings.Join(lines, "\n"), strconv.Quote(Version), "...", 1))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n\n") + "\n"
}

func receiver(method *ast.FuncDecl) string {
	typ := method.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	return typ.(*ast.Ident).Name
}
