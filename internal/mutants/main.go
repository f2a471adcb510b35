// Command mutants breaks respawn on purpose, one bug at a time, and shows which
// test notices: first the simulation alone, then the whole suite, then the tests
// of the package that was broken. It must be run from the root of the module,
// whose files it leaves alone: a mutated file is laid over the original for one
// build.
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

	sound := mutant{name: "none"}
	if by, err := try(dir, "sound", sound); err != nil || by != "" {
		return fmt.Errorf("the suite fails without a mutation: %s %w", by, err)
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
			by, err := try(dir, fmt.Sprint(i), m)
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

	bad, simulated := 0, 0
	fmt.Println("| mutant | in | caught by |\n| --- | --- | --- |")
	for i, m := range mutants {
		fmt.Printf("| %s | `%s` | %s |\n", m.name, m.file, verdicts[i])
		if failed[i] {
			bad++
		} else if strings.HasPrefix(verdicts[i], simulation+":") {
			simulated++
		}
	}
	fmt.Printf("\n%d mutants, %d caught, %d of them by the simulation\n", len(mutants), len(mutants)-bad, simulated)
	if bad > 0 {
		return fmt.Errorf("%d mutants were not caught", bad)
	}
	return nil
}

const simulation = "TestSimulation"

// try builds the test binary with m in it and returns the test that caught it:
// one of the client, or of the package that m is in.
func try(dir, id string, m mutant) (caughtBy string, err error) {
	bin := filepath.Join(dir, id+".test")
	var laid []string
	if m.file != "" {
		overlay, err := m.overlay(dir, id)
		if err != nil {
			return "", err
		}
		laid = []string{"-overlay", overlay}
	}
	build := slices.Concat([]string{"test", "-c", "-vet=off", "-o", bin}, laid, []string{"."})
	if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build: %s", strings.TrimSpace(string(out)))
	}
	defer os.Remove(bin)

	out, err := exec.Command(bin, "-test.run", "^"+simulation+"$", "-test.timeout", "5m").CombinedOutput()
	if err != nil {
		return simulation + ": " + reason(string(out)), nil
	}
	out, err = exec.Command(bin, "-test.skip", "^"+simulation, "-test.short", "-test.failfast", "-test.v", "-test.timeout", "2m").CombinedOutput()
	if err != nil {
		return culprit(string(out)), nil
	}
	if own := filepath.Dir(m.file); own != "." {
		test := slices.Concat([]string{"test", "-vet=off", "-failfast", "-v", "-timeout", "2m"}, laid, []string{"./" + own})
		if out, err := exec.Command("go", test...).CombinedOutput(); err != nil {
			return culprit(string(out)), nil
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
	again   = regexp.MustCompile(`(?m)^\s*(?:\S+_test\.go:\d+: )?(.*), run it again with`)
	failed  = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	running = regexp.MustCompile(`(?m)^=== (?:RUN|CONT) +(\S+)`)
	crashed = regexp.MustCompile(`(?m)^(?:panic|fatal error): (.*)`)
)

// reason is the invariant that did not hold, or how the process ended.
func reason(out string) string {
	for _, r := range []*regexp.Regexp{again, crashed} {
		if m := r.FindStringSubmatch(out); m != nil {
			return m[1]
		}
	}
	return "failed"
}

// culprit is the test that failed, or that was running at the crash.
func culprit(out string) string {
	if m := failed.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	if all := running.FindAllStringSubmatch(out, -1); all != nil {
		return all[len(all)-1][1] + " (" + reason(out) + ")"
	}
	return reason(out)
}
