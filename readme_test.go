package respawn

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// README's first snippet is the Example, its table of options is whole, and
// every test that it names is there.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(b)

	_, snippet, ok := strings.Cut(readme, "```go\n")
	require.True(t, ok)
	snippet, _, _ = strings.Cut(snippet, "```")
	assert.LessOrEqual(t, strings.Count(readme[:strings.Index(readme, snippet)], "\n")+1, 20, "by line 20")
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(strings.TrimSpace(snippet), "\t$1")
	assert.Contains(t, string(example), indented, "the snippet is a part of an Example, which compiles and runs")

	declared := map[string]bool{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				declared[fn.Name.Name] = true
				if strings.HasPrefix(fn.Name.Name, "With") {
					assert.Contains(t, readme, "`"+fn.Name.Name+"`")
				}
			}
		}
	}
	for _, name := range regexp.MustCompile("`(Test[A-Za-z]+|With[A-Za-z]+)`").FindAllStringSubmatch(readme, -1) {
		assert.True(t, declared[name[1]], "README names %s", name[1])
	}
}
