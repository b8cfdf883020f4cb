package rpcgen

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// taskFiles are the files of all areas of tasks, and the catalog.
func (g *generator) taskFiles() (files []file, err error) {
	slices.SortFunc(g.tasks, func(a, b *taskArea) int { return strings.Compare(a.name, b.name) })
	g.checkTaskNames()
	for _, a := range g.tasks {
		data, err := g.taskFile(a)
		if err != nil {
			return nil, err
		}
		files = append(files, file{path.Join(g.config.Tasks, a.name, tasksName), data})
	}
	if len(g.tasks) == 0 {
		return nil, nil
	}
	data, err := g.catalogFile()
	return append(files, file{path.Join(g.config.Tasks, catalogDir, catalogName), data}), err
}

// checkTaskNames finds two tasks of one name.
func (g *generator) checkTaskNames() {
	first := make(map[string]*task)
	for _, a := range g.tasks {
		for _, t := range a.tasks {
			if other := first[t.name]; other != nil {
				g.problem(t.pos, fmt.Sprintf("there is another task %s at %s", t.name, g.position(other.pos)))
			}
			first[t.name] = t
		}
	}
}

// taskFile is an area's tasks_gen.go: its definitions, and a function for each task
// that takes its arguments.
func (g *generator) taskFile(a *taskArea) ([]byte, error) {
	c := newCode(a.source.path, a.source.types.Name(), append(a.source.types.Scope().Names(), "c", "args", "result", "err")...)
	tasks := c.use(g.tasksPath(), path.Base(g.config.Tasks))
	c.printf("// Definitions are the tasks of this area.\nfunc Definitions() []*%s.Definition {\nreturn []*%s.Definition{", tasks, tasks)
	for i, t := range a.tasks {
		if i > 0 {
			c.printf(", ")
		}
		c.printf("def%s", t.goName)
	}
	c.printf("}\n}\n")
	for _, t := range a.tasks {
		g.writeTask(c, a, t, tasks)
	}
	return c.bytes()
}

func (g *generator) writeTask(c *code, a *taskArea, t *task, tasks string) {
	names := newLocals("c", "args", "result", "err", tasks)
	var params, locals []string
	for _, v := range t.params {
		name := names.name(v.Name(), a.source.types.Scope())
		locals = append(locals, name)
		params = append(params, name+" "+c.typeName(v.Type()))
	}
	pos := g.position(t.pos)
	c.printf("\nvar def%s = &%s.Definition{\nName: %q,\nDoc: %q,\nWhere: \"%s:%d\",\n", t.goName, tasks, t.name, t.doc, pos.Filename, pos.Line)
	if len(t.params) > 0 {
		c.printf("Params: []string{")
		for _, v := range t.params {
			c.printf("%q, ", v.Name()+" "+shortType(v.Type()))
		}
		c.printf("},\n")
	}
	if t.queue != "" {
		c.printf("Queue: %q,\n", t.queue)
	}
	c.printf("Retries: %d,\n", t.retries)
	if t.timeout != 0 {
		c.printf("Timeout: %d, // %v\n", int64(t.timeout), t.timeout)
	}
	if t.ephemeral {
		c.printf("Ephemeral: true,\n")
	}
	c.printf("Bind: func(args []byte) (func(*%s.Call) ([]byte, error), error) {\n", tasks)
	for i, p := range params {
		_ = i
		c.printf("var %s\n", p)
	}
	c.printf("if err := %s.Decode(%q, args", tasks, t.name)
	for i, v := range t.params {
		c.printf(", %s.Arg{Name: %q, Into: &%s}", tasks, v.Name(), locals[i])
	}
	c.printf("); err != nil {\nreturn nil, err\n}\n")
	c.printf("return func(c *%s.Call) ([]byte, error) {\n", tasks)
	call := fmt.Sprintf("%s(%s)", t.goName, strings.Join(append([]string{"c"}, locals...), ", "))
	if t.result == nil {
		c.printf("return nil, %s\n", call)
	} else {
		c.printf("result, err := %s\nif err != nil {\nreturn nil, err\n}\nreturn %s.EncodeResult(result)\n", call, tasks)
	}
	c.printf("}, nil\n},\n}\n")
	kind, make, result := "Task", "Make", "struct{}"
	if t.ephemeral {
		kind, make = "Ephemeral", "MakeEphemeral"
	}
	if t.result != nil {
		result = c.typeName(t.result)
	}
	c.printf("\n// %sTask is %s with its arguments, to be applied.\n", t.goName, t.goName)
	c.printf("func %sTask(%s) %s.%s[%s] {\nreturn %s.%s[%s](%s)\n}\n", t.goName, strings.Join(params, ", "), tasks, kind, result,
		tasks, make, result, strings.Join(append([]string{"def" + t.goName}, locals...), ", "))
}

// catalogFile is catalog_gen.go: the definitions of all areas.
func (g *generator) catalogFile() ([]byte, error) {
	c := newCode(path.Join(g.tasksPath(), catalogDir), catalogDir, "all", "Definitions")
	tasks := c.use(g.tasksPath(), path.Base(g.config.Tasks))
	c.printf("// Definitions are the tasks of all areas.\nfunc Definitions() []*%s.Definition {\nvar all []*%s.Definition\n", tasks, tasks)
	for _, a := range g.tasks {
		c.printf("all = append(all, %s.Definitions()...)\n", c.use(a.source.path, a.source.types.Name()))
	}
	c.printf("return all\n}\n")
	return c.bytes()
}
