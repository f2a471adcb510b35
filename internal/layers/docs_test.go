package layers

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	// Not what a package exports under such a name.
	named    = regexp.MustCompile(`(?:^|[^.\w])((?:Test|Fuzz|Example|Benchmark)[A-Z]\w*)`)
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Example|Benchmark)[A-Z]\w*)\(`)
)

// A page that promises what a test holds is wrong once the test has another name.
func TestEveryTestThatAPageNamesExists(t *testing.T) {
	var tests []string
	pages := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		code, page := strings.HasSuffix(name, "_test.go"), strings.HasSuffix(name, ".md")
		if err != nil || d.IsDir() || !code && !page {
			return err
		}
		text, err := os.ReadFile(name)
		if page {
			pages[name] = string(text)
		}
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			tests = append(tests, m[1])
		}
		return err
	}))
	require.Contains(t, pages, filepath.Join(root, "README.md"))
	for name, text := range pages {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			assert.True(t, isOneOf(tests, m[1]), "%s: there is no %s", name, m[1])
		}
	}
}

// isOneOf reports whether want is the name of a test, or begins the names of some, as
// in what `go test -run` takes.
func isOneOf(tests []string, want string) bool {
	for _, name := range tests {
		if strings.HasPrefix(name, want) {
			return true
		}
	}
	return false
}

var placed = regexp.MustCompile("`(\\w+)` in `([\\w/]+\\.go)`")

// A page that says where something is decided is wrong once it is decided elsewhere.
func TestEveryFunctionThatAPageNamesIsWhereItSays(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/rules.md"))
	require.NoError(t, err)
	all := placed.FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(all), 40)
	for _, m := range all {
		code, err := os.ReadFile(filepath.Join(root, m[2]))
		require.NoError(t, err)
		assert.Regexp(t, `(?m)^func (\([^)]*\) )?`+m[1]+`\(`, string(code), "%s is not in %s", m[1], m[2])
	}
}
