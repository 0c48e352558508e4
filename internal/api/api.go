// Package api writes down what the packages of the module export, one declaration a line, so that a
// change of it is seen.
package api

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// Of returns the exported declarations of the package in a folder, as this system builds it,
// sorted: a line for each constant, variable, function and method, each exported field and method
// of a type, and each type.
func Of(folder string) ([]string, error) {
	p, err := build.Default.ImportDir(folder, 0)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	var w writer
	for _, name := range p.GoFiles {
		file, err := parser.ParseFile(&w.files, filepath.Join(folder, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
		for _, d := range file.Decls {
			w.declaration(d)
		}
	}
	slices.Sort(w.lines)
	return slices.Compact(w.lines), nil
}

type writer struct {
	files token.FileSet
	lines []string
}

func (w *writer) add(parts ...any) {
	var b strings.Builder
	for _, p := range parts {
		if text, ok := p.(string); ok {
			b.WriteString(text)
			continue
		}
		b.WriteString(w.source(p))
	}
	w.lines = append(w.lines, b.String())
}

// source writes a node in one line.
func (w *writer) source(node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, &w.files, node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (w *writer) declaration(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		receiver := ""
		if d.Recv != nil {
			receiver = w.source(d.Recv.List[0].Type)
			if base := strings.TrimLeft(receiver, "*"); !ast.IsExported(base) {
				return
			}
			receiver = "(" + receiver + ") "
		}
		if d.Name.IsExported() {
			w.add("func ", receiver, d.Name.Name, strings.TrimPrefix(w.source(d.Type), "func"))
		}
	case *ast.GenDecl:
		for i, s := range d.Specs {
			w.spec(d.Tok, i, s)
		}
	}
}

// spec writes what the position-th line of a group declares.
func (w *writer) spec(kind token.Token, position int, s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for i, name := range s.Names {
			if !name.IsExported() {
				continue
			}
			text := kind.String() + " " + name.Name
			if s.Type != nil {
				text += " " + w.source(s.Type)
			}
			if kind == token.CONST && i < len(s.Values) { // others are what they are at run time
				text += " = " + w.source(s.Values[i])
			}
			if kind == token.CONST && (len(s.Values) == 0 || strings.Contains(text, "iota")) {
				text += fmt.Sprintf(", %d in its group", position)
			}
			w.add(text)
		}
	case *ast.TypeSpec:
		if s.Name.IsExported() {
			w.typeOf(s)
		}
	}
}

// typeOf writes a type and what it shows of its inside.
func (w *writer) typeOf(s *ast.TypeSpec) {
	name := s.Name.Name
	if s.TypeParams != nil {
		var all []string
		for _, p := range s.TypeParams.List {
			for _, n := range p.Names {
				all = append(all, n.Name+" "+w.source(p.Type))
			}
		}
		name += "[" + strings.Join(all, ", ") + "]"
	}
	equals := " "
	if s.Assign.IsValid() {
		equals = " = "
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		w.add("type ", name, equals, "struct")
		w.members(s.Name.Name, t.Fields, "field")
	case *ast.InterfaceType:
		w.add("type ", name, equals, "interface")
		w.members(s.Name.Name, t.Methods, "method")
	default:
		w.add("type ", name, equals, s.Type)
	}
}

// members writes the fields of a struct, or what an interface wants. Methods that are not exported
// count: nobody else can have them.
func (w *writer) members(of string, list *ast.FieldList, kind string) {
	for _, f := range list.List {
		if len(f.Names) == 0 {
			w.add(kind, " ", of, " embeds ", f.Type)
		}
		for _, n := range f.Names {
			if n.IsExported() || kind == "method" {
				w.add(kind, " ", of, ".", n.Name, " ", f.Type)
			}
		}
	}
}
