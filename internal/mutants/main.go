// Command mutants breaks respawn on purpose, one bug at a time, and shows which test
// notices. For each rule of docs/rules.md, the test that holds the rule must notice at
// least one of the bugs in the function that decides it. Run it from the root of the
// module. It leaves the module's files alone: a mutated file replaces the original only
// for one build.
//
// An argument picks the mutants whose name or file contains it. The exit status
// is 1 if one survives, does not build, or no longer applies.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	rules, err := readRules("docs/rules.md")
	if err != nil {
		return err
	}
	if len(os.Args) > 1 {
		mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return !strings.Contains(m.name+" "+m.file, os.Args[1]) })
	}
	verdicts := make([]string, len(mutants))
	failed := make([]bool, len(mutants))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for i, m := range mutants {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			by, err := try(dir, fmt.Sprint(i), m, rules)
			switch {
			case err != nil:
				verdicts[i], failed[i] = err.Error(), true
			case by == "":
				verdicts[i], failed[i] = "SURVIVED", true
			default:
				verdicts[i] = by
			}
			fmt.Fprintf(os.Stderr, "%s: %s\n", m.name, verdicts[i])
		})
	}
	wg.Wait()

	bad := 0
	fmt.Println("| mutant | in | caught by |\n| --- | --- | --- |")
	for i, m := range mutants {
		fmt.Printf("| %s | `%s` | %s |\n", m.name, m.file, verdicts[i])
		if failed[i] {
			bad++
		}
	}
	fmt.Printf("\n%d mutants, %d caught\n", len(mutants), len(mutants)-bad)
	if bad > 0 {
		return fmt.Errorf("%d mutants were not caught", bad)
	}
	if len(os.Args) > 1 {
		return nil
	}
	for _, r := range rules {
		if !r.held.Load() {
			return fmt.Errorf("%s notices no mutation of %s: %s", r.test, r.function, r.text)
		}
	}
	return nil
}

// A stage is a go test run that may notice a mutation.
type stage struct {
	what string
	args []string
}

// stages are the runs for a mutation, the ones that notice soonest first.
func (m mutant) stages() []stage {
	own := "./" + filepath.Dir(m.file)
	explorer := stage{"explorer", []string{"-run", "^TestExplore$", "-short", "./internal/core"}}
	cases := stage{"core", []string{"-skip", "^TestExplore$", "-short", "./internal/core"}}
	inside := stage{"own tests", []string{"-short", own}}
	simulation := stage{"simulation", []string{"-run", "^TestSimulation$", "-short", "./internal/sim"}}
	whole := stage{"clients", []string{"-short", "./test", "."}}
	if own == "./internal/core" {
		return []stage{explorer, cases, simulation, whole}
	}
	return []stage{inside, whole, simulation}
}

// try lays m over the source and returns which test caught it. Where m is in a
// function that decides a rule, the rule's own test goes first.
func try(dir, id string, m mutant, rules []*rule) (caughtBy string, err error) {
	overlay, err := m.overlay(dir, id)
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "./...").CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build: %s", strings.TrimSpace(string(out)))
	}
	test := func(args []string) (string, bool) {
		args = slices.Concat([]string{"test", "-vet=off", "-count=1", "-failfast", "-v", "-timeout", "5m", "-overlay", overlay}, args)
		out, err := exec.Command("go", args...).CombinedOutput()
		return string(out), err != nil
	}
	for _, r := range rules {
		if !m.breaks(r) {
			continue
		}
		if _, caught := test([]string{"-run", "^" + r.test + "$", r.pkg}); caught {
			r.held.Store(true)
			caughtBy = r.test
		}
	}
	if caughtBy != "" {
		return caughtBy, nil
	}
	for _, s := range m.stages() {
		if out, caught := test(s.args); caught {
			return s.what + ": " + reason(out), nil
		}
	}
	return "", nil
}

// overlay writes the mutated file and the map that lays it over the original.
func (m mutant) overlay(dir, id string) (string, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	mutated, err := m.apply(string(source))
	if err != nil {
		return "", err
	}
	over := filepath.Join(dir, id+".go")
	if err := os.WriteFile(over, []byte(mutated), 0o600); err != nil {
		return "", err
	}
	from, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {from: over}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, id+".json")
	return path, os.WriteFile(path, replace, 0o600)
}

func (m mutant) apply(source string) (string, error) {
	switch strings.Count(source, m.old) {
	case 1:
		return strings.Replace(source, m.old, m.new, 1), nil
	case 0:
		return "", errors.New("no longer applies: what it replaces is not there")
	}
	return "", errors.New("no longer applies: what it replaces is there more than once")
}

var (
	failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	running    = regexp.MustCompile(`(?m)^=== (?:RUN|CONT) +(\S+)`)
)

// reason is the test that failed, or that was running at the crash.
func reason(out string) string {
	if m := failedTest.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	out, _, _ = strings.Cut(out, "\npanic: ") // other packages' tests may have run on
	if all := running.FindAllStringSubmatch(out, -1); len(all) > 0 {
		return all[len(all)-1][1]
	}
	return "failed"
}
