package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
)

// A rule is a row of docs/rules.md.
type rule struct {
	text, function, file, test, pkg string

	held atomic.Bool // the test has noticed a mutation of the function
}

var row = regexp.MustCompile("(?m)^\\| ([^|]+) \\| `(\\w+)` in `([^`]+)` \\| `(Test\\w+)` \\|$")

// readRules reads the page, of the module that it is run from the root of.
func readRules(page string) ([]*rule, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	tests, err := testPackages()
	if err != nil {
		return nil, err
	}
	var rules []*rule
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		rules = append(rules, &rule{text: m[1], function: m[2], file: m[3], test: m[4], pkg: tests[m[4]]})
	}
	if len(rules) == 0 {
		return nil, fmt.Errorf("%s: no rules", page)
	}
	return rules, nil
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testPackages says where each test of the module is.
func testPackages() (map[string]string, error) {
	packages := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(source), -1) {
			packages[m[1]] = "./" + filepath.Dir(path)
		}
		return err
	})
	return packages, err
}

// lines are where the function or method that decides the rule is; 0 if there is
// none.
func (r *rule) lines() (first, last int) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, r.file, nil, parser.SkipObjectResolution)
	if err != nil {
		return 0, 0
	}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == r.function {
			return fset.Position(fn.Pos()).Line, fset.Position(fn.End()).Line
		}
	}
	return 0, 0
}

// breaks reports whether m is in the function that decides r.
func (m mutant) breaks(r *rule) bool {
	if m.file != r.file {
		return false
	}
	source, err := os.ReadFile(m.file)
	if err != nil {
		return false
	}
	at := strings.Index(string(source), m.old)
	line := 1 + strings.Count(string(source)[:max(at, 0)], "\n")
	first, last := r.lines()
	return at >= 0 && first <= line && line <= last
}
