// Checks what deploy/ holds with the code of the programs that will read it: Compose's own loader, Kubernetes' own
// schemas, BuildKit's own parser of Dockerfiles. Nothing is fetched: the schemas are part of the modules.
//
// deploy-check compose FILE… | dockerfile FILE… | kubernetes FILE… : prints one line for each mistake, and exits with 1
// if there is one.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kubectl-validate/pkg/openapiclient"
	"sigs.k8s.io/kubectl-validate/pkg/validator"
)

const kubernetesVersion = "1.30"

var checks = map[string]func(string) []error{
	"compose":    compose,
	"dockerfile": dockerfile,
	"kubernetes": kubernetes,
}

func main() {
	if len(os.Args) < 3 || checks[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: deploy-check compose|dockerfile|kubernetes FILE…")
		os.Exit(2)
	}
	bad := false
	for _, file := range os.Args[2:] {
		for _, mistake := range checks[os.Args[1]](file) {
			bad = true
			fmt.Printf("%s: %s\n", file, mistake)
		}
	}
	if bad {
		os.Exit(1)
	}
}

func compose(file string) []error {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithWorkingDirectory(filepath.Dir(file)), cli.WithName("tocsin"))
	if err != nil {
		return []error{err}
	}
	if _, err = options.LoadProject(context.Background()); err != nil {
		return []error{err}
	}
	return nil
}

func dockerfile(file string) []error {
	text, err := os.ReadFile(file)
	if err != nil {
		return []error{err}
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return []error{err}
	}
	var found []error
	for _, warning := range parsed.Warnings {
		found = append(found, errors.New(warning.Short))
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, where []parser.Range) {
		line := 0
		if len(where) > 0 {
			line = where[0].Start.Line
		}
		found = append(found, fmt.Errorf("line %d: %s: %s", line, rule, message))
	}})
	if _, _, err = instructions.Parse(parsed.AST, lint); err != nil {
		found = append(found, err)
	}
	return found
}

func kubernetes(file string) []error {
	handle, err := os.Open(file)
	if err != nil {
		return []error{err}
	}
	defer handle.Close()
	schemas, err := validator.New(openapiclient.NewHardcodedBuiltins(kubernetesVersion))
	if err != nil {
		return []error{err}
	}
	var found []error
	documents := yaml.NewYAMLReader(bufio.NewReader(handle))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			return append(found, err)
		}
		if len(strings.TrimSpace(string(document))) == 0 {
			continue
		}
		_, object, err := schemas.Parse(document)
		if err == nil {
			err = schemas.Validate(object)
		}
		if err != nil {
			found = append(found, err)
		}
	}
}
