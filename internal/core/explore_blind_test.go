//go:build !race

package core

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// TestTheExplorerLooksIntoNothing: what the explorer's worlds and accounts reckon, and what the
// invariants and sequels judge, they know from the events that they bring about and from what the
// core answers, and not from the fields of its client.
func TestTheExplorerLooksIntoNothing(t *testing.T) {
	mayRead := []string{
		"todo", // what it decides, before it is asked for that
		"role", // the one decision that is told by a field: a copy that is promoted leaves its original behind
	}
	for _, name := range []string{"account", "trials", "places", "health", "invariants", "lost", "perform", "shell", "moves", "do", "sequels"} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, "explore_"+name+"_test.go", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			read, ok := n.(*ast.SelectorExpr)
			if !ok || read.Sel.IsExported() || slices.Contains(mayRead, read.Sel.Name) {
				return true
			}
			// A world has its client in c, a flight its attempt in a.
			if of, ok := read.X.(*ast.SelectorExpr); ok && (of.Sel.Name == "c" || of.Sel.Name == "a") {
				t.Errorf("%s reads %s of the core", set.Position(n.Pos()), read.Sel.Name)
			}
			return true
		})
	}
}
