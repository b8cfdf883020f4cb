package dashboards

import (
	"testing"

	"gameserverd/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }
