package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each report of docs/trust.md is held by tests that exist.
func TestEveryReportHasItsTest(t *testing.T) {
	t.Chdir("../..")
	page, err := os.ReadFile("docs/trust.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(page), "## Found by others' bug reports\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	tests, err := testPackages()
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| ([^|]*#\d[^|]*) \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(section, -1)
	require.NotEmpty(t, rows)
	require.Len(t, rows, strings.Count(section, "\n| ")-2, "a row that cannot be read")
	for _, row := range rows {
		held := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(row[2], -1)
		assert.NotEmpty(t, held, row[1])
		for _, test := range held {
			assert.NotEmpty(t, tests[test[1]], "%s: there is no %s", row[1], test[1])
		}
	}
}
