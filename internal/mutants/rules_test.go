package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each rule of docs/rules.md names a function and a test that exist, and something
// in that function is broken on purpose by the list: `make mutants` then shows that
// the named test notices.
func TestEveryRuleHasItsFunctionItsTestAndAMutation(t *testing.T) {
	t.Chdir("../..")
	rules, err := readRules("docs/rules.md")
	require.NoError(t, err)
	require.Greater(t, len(rules), 30)
	for _, r := range rules {
		assert.NotEmpty(t, r.pkg, "%s: there is no %s", r.text, r.test)
		if first, _ := r.lines(); assert.NotZero(t, first, "%s: there is no %s in %s", r.text, r.function, r.file) {
			assert.True(t, slices.ContainsFunc(mutants, func(m mutant) bool { return m.breaks(r) }),
				"%s: no mutation is in %s", r.text, r.function)
		}
	}
}
