package conn

// runRole is the main of a subprocess of the test binary, for tests that change
// what belongs to a whole process.
func runRole(role string) int { return 2 }
