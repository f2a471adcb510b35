package clients

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each row of docs/clients.md links to an example and shows the lines that matter in it.
// The lines are compiled and run there.
func TestThePageShowsLinesOfTheExamples(t *testing.T) {
	const docs = "../../docs"
	page, err := os.ReadFile(filepath.Join(docs, "clients.md"))
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| \[[^\]]+\]\(([^)]+_test\.go)\)[^|]*\|([^|]*)\|`).FindAllStringSubmatch(string(page), -1)
	assert.Greater(t, len(rows), 10)
	for _, row := range rows {
		file, err := os.ReadFile(filepath.Join(docs, row[1]))
		require.NoError(t, err)
		_, example, _ := strings.Cut(string(file), "\nfunc Example")
		example, _, _ = strings.Cut(example, "\n}\n")
		lines := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1)
		assert.NotEmpty(t, lines, row[1])
		for _, line := range lines {
			assert.Contains(t, example, line[1], row[1])
		}
	}
}
