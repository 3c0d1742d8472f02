# evilnet: build, install and try out.  `make help` lists what there is.
#
# all, install, uninstall, installcheck and clean are PGXS's own and need only
# a PostgreSQL with its server headers.  The commands of this house bring their
# own set-up and live in test/tools, one script each.

HOUSE = bench bench-lake bench-peers bench-sources bench-trends check demo down format format-check fuzz help psql setup up
ours := $(filter $(HOUSE),$(MAKECMDGOALS))

.DEFAULT_GOAL := all

ifneq (,$(ours))

# PGXS may not be installed yet, so nothing of it is read here; its targets
# given beside ours run in a make of their own, in the order given.
.NOTPARALLEL:
.PHONY: $(MAKECMDGOALS)

pgxs_goals := $(filter-out $(HOUSE),$(MAKECMDGOALS))
ifneq (,$(pgxs_goals))
$(pgxs_goals):
	$(MAKE) $@
endif

check:
	@test/tools/check
demo:
	@test/tools/demo
setup:
	@test/tools/setup check
up down psql:
	@test/tools/cluster $@
fuzz:
	@test/tools/check fuzz
bench:
	@test/bench/run
bench-peers:
	@test/bench/peers
bench-lake:
	@test/bench/lake
bench-sources:
	@test/bench/sources
bench-trends:
	@test/bench/trends
format:
	@test/tools/format
format-check:
	@test/tools/format --check
help:
	@test/tools/help

else

MODULE_big = evilnet
EXTENSION = evilnet
PGFILEDESC = "evilnet - Kafka streams to windowed counts per city"

# the one place that holds the version
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'$$/\1/p" evilnet.control)

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))

DATA_built = evilnet--$(EXTVERSION).sql
DATA = $(sort $(wildcard sql/evilnet--*--*.sql) $(wildcard data/*.tsv))

# test/expected is a link to expected/: pg_regress wants it beside sql and specs
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test --load-extension=hll --load-extension=evilnet
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=hll --load-extension=evilnet
TAP_TESTS = 1
PROVE_TESTS ?= test/t/*.pl

# Objects depend on the headers they include, which PGXS leaves out unless
# PostgreSQL itself was configured so.
PG_CPPFLAGS = -Isrc -MMD -MP -DEVN_VERSION='"$(EXTVERSION)"' -DEVN_DLSUFFIX='"$(DLSUFFIX)"'

PKG_CONFIG ?= pkg-config
LIBRARIES = rdkafka libarchive libcurl
ifneq (0,$(shell $(PKG_CONFIG) --exists $(LIBRARIES) 2>/dev/null; echo $$?))
$(error $(shell $(PKG_CONFIG) --print-errors --exists $(LIBRARIES) 2>&1): `make setup` installs $(LIBRARIES))
endif
PG_CPPFLAGS += $(shell $(PKG_CONFIG) --cflags $(LIBRARIES))
SHLIB_LINK = $(shell $(PKG_CONFIG) --libs $(LIBRARIES))

# Parquet is a module of its own, as Apache Arrow is large, C++ and may be
# missing.  Arrow is the system's, else the one that test/tools/arrow unpacked,
# which comes with pkg-config files too.
EVILNET_CACHE ?= /var/tmp/evilnet-$(shell id -u)/cache
ARROW = PKG_CONFIG_PATH='$(PKG_CONFIG_PATH):$(EVILNET_CACHE)/arrow' $(PKG_CONFIG) 'arrow >= 21' parquet
ifeq (0,$(shell $(ARROW) --exists 2>/dev/null; echo $$?))
PARQUET = evilnet_parquet$(DLSUFFIX)
PARQUET_OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/parquet/*.c))) src/parquet/parquet_arrow.o
ARROW_CPPFLAGS := $(patsubst -I%,-isystem %,$(shell $(ARROW) --cflags))
ARROW_LIBS := $(shell $(ARROW) --libs)
# libraries that no system has, to be installed beside the module
ARROW_FILES := $(shell $(ARROW) --variable=evilnet_files)
endif

# PostgreSQL's own headers and calling conventions hold unused parameters
# (fmgr, hooks), mixed signs (its macros) and partial initializers; everything
# else that gcc knows is an error with WERROR=1.
ifdef WERROR
PG_CFLAGS += -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers
PG_CXXFLAGS += -Wextra -Werror
endif

EXTRA_CLEAN = $(OBJS:.o=.d) src/parquet/*.[od] evilnet_parquet*.so evilnet--*.sql test/output results output_iso tmp_check

PG_CONFIG ?= pg_config

# 15 to 18; compat.h knows no other
PG_MAJOR := $(shell $(PG_CONFIG) --version 2>/dev/null | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
ifeq (,$(PG_MAJOR))
$(error $(PG_CONFIG) not found: `make setup` installs PostgreSQL and what evilnet needs, or give PG_CONFIG=/path/to/pg_config)
endif
ifeq (,$(filter 15 16 17 18,$(PG_MAJOR)))
$(error evilnet supports PostgreSQL 15 to 18, and $(PG_CONFIG) is of PostgreSQL $(PG_MAJOR): give PG_CONFIG=/path/to/pg_config)
endif

# Bitcode for just-in-time inlining doubles the build and needs clang; nothing
# of evilnet is called per expression.  `make with_llvm=yes` builds it.
ifneq (command line,$(origin with_llvm))
override with_llvm := no
endif

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# set by PGXS, so added to only here
PG_PROVE_FLAGS += -I test/perl

evilnet--$(EXTVERSION).sql: sql/evilnet.sql evilnet.control
	cp $< $@

ifdef PARQUET
all: $(PARQUET)
install: install-parquet
uninstall: uninstall-parquet
.PHONY: install-parquet uninstall-parquet

# Arrow's headers want C++20; what the module has of its own is nobody else's.
src/parquet/parquet_arrow.o: override CPPFLAGS := $(ARROW_CPPFLAGS) $(CPPFLAGS)
src/parquet/parquet_arrow.o: override CXXFLAGS += -std=c++20 -fvisibility=hidden $(CXXFLAGS_SL) -fPIC

$(PARQUET): $(PARQUET_OBJS)
	$(CXX) -shared -o $@ $^ $(LDFLAGS) $(LDFLAGS_SL) $(ARROW_LIBS) -Wl,--enable-new-dtags,-rpath,'$$ORIGIN'

install-parquet: $(PARQUET) | installdirs
	$(INSTALL_SHLIB) $(PARQUET) $(ARROW_FILES) '$(DESTDIR)$(pkglibdir)/'

uninstall-parquet:
	rm -f $(addprefix '$(DESTDIR)$(pkglibdir)'/, $(PARQUET) $(notdir $(ARROW_FILES)))
endif

-include $(OBJS:.o=.d) $(PARQUET_OBJS:.o=.d)

endif
