package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Whoever changes the code that a mutation rests on changes the mutation.
func TestEveryMutationApplies(t *testing.T) {
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.apply(string(source)); err != nil {
			t.Errorf("%s, in %s: %v\n%s", m.name, m.file, err, m.old)
		}
	}
}
