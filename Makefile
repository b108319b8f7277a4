# SPDX-License-Identifier: GPL-2.0-or-later
#
# Non-recursive. Everything built lands in $(B); `make B=build-x` is a second,
# independent build. configure runs by itself when $(B)/config.mk is missing
# or older than configure. `make help` lists the targets.

B ?= build
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

# Goals that need no configuration.
bare := clean help format run
goals := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out $(bare),$(goals)),)
include $(B)/config.mk
endif

# The arguments of the last configure run are kept.
reconfigure = @args=$$(sed -n 's/^CONFIGURE_ARGS = //p' $(B)/config.mk \
	2>/dev/null); eval "B='$(B)' ./configure $(1) $$args"
$(B)/config.stamp: configure
	$(say) CONFIG $(B)
	$(call reconfigure,--quiet)
$(B)/config.mk $(B)/config.h: $(B)/config.stamp ;

# ---------------------------------------------------------------- sources

srcs = $(sort $(wildcard $(1)))
SRC_core    := $(call srcs,core/*/*.c core/*/*.S)
SRC_hw      := $(call srcs,hw/*.c hw/*/*.c hw/*/*.S)
SRC_block   := $(call srcs,block/*.c block/*/*.c)
SRC_monitor := $(call srcs,monitor/*.c)
SRC_ui      := $(filter-out ui/main.c,$(call srcs,ui/*.c ui/*/*.c))
SRC_support := $(call srcs,tests/unit/support/*.c)
FOLDERS     := core hw block monitor ui
TESTS       := $(call srcs,tests/unit/test_*.c)

# x.c becomes x.o, x.S becomes x.S.o
objs = $(patsubst %.S,$(B)/%.S.o,$(patsubst %.c,$(B)/%.o,$(1)))
ALL_OBJS = $(call objs,$(foreach f,$(FOLDERS) support,$(SRC_$f)) ui/main.c \
	$(TESTS))
ARCHIVES := $(foreach f,$(FOLDERS),$(B)/$f.a)

# ------------------------------------------------------------------ flags

CFLAGS_BASE = -std=gnu11 -D_GNU_SOURCE= -DNCURSES_WIDECHAR=1 -I. -I$(B) \
	-pthread -fPIE -ffunction-sections -fdata-sections -fno-common
ALL_CFLAGS = $(CFLAGS_BASE) $(CFLAGS_OPT) $(CFLAGS_WARN) $(CFLAGS_HARD) \
	$(CFLAGS_SAN) $(CFLAGS_LIBS) $(CFLAGS_USER)
ALL_LDFLAGS = -pie -pthread -Wl,--gc-sections -Wl,--as-needed \
	$(LDFLAGS_HARD) $(CFLAGS_SAN) $(LDFLAGS_USER)

# core/cpu and core/soft run while the guest's vector registers are live, so
# they may touch no vector register and call no libc function that does;
# host_*.c in them never runs then and gets the normal flags.
LIVE_OBJS := $(call objs,$(foreach s,$(wildcard core/cpu/*.c core/soft/*.c), \
	$(if $(filter host_%,$(notdir $s)),,$s)))
# __NO_INLINE__: glibc's headers define inline functions that return double.
# Loops are to stay loops, not become memset.
KEEP_LOOPS = $(if $(findstring clang,$(CC)),-fno-builtin, \
	-fno-tree-loop-distribute-patterns)
$(LIVE_OBJS): CFLAGS_LIVE = -mgeneral-regs-only -fno-stack-protector \
	$(KEEP_LOOPS) -U_FORTIFY_SOURCE -D__NO_INLINE__

DEPS = -MMD -MP -MF $(@:.o=.d)

# keep TEXT: the target holds TEXT and gets a new date only when TEXT changes
keep = @mkdir -p $(@D); echo '$(1)' | cmp -s - $@ || echo '$(1)' >$@

# ------------------------------------------------------------------ rules

.PHONY: all run check check-unit check-system check-long check-crash \
	check-soak fuzz bench guests install clean format help unit-programs FORCE
all: $(B)/orrery

$(B)/flags: FORCE
	$(call keep,$(CC) $(ALL_CFLAGS))

$(B)/%.o: %.c $(B)/flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(CFLAGS_LIVE) $(DEPS) -c -o $@ $<

$(B)/%.S.o: %.S $(B)/flags
	$(say) AS $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEPS) -c -o $@ $<

# An archive per folder; its .list makes a removed source leave the archive.
define archive
$(B)/$(1).list: FORCE
	$$(call keep,$(SRC_$(1)))
$(B)/$(1).a: $(B)/$(1).list $(call objs,$(SRC_$(1)))
	$$(say) AR $$@
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $$(filter %.o,$$^)
endef
$(foreach f,$(FOLDERS) support,$(eval $(call archive,$f)))

link = $(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) \
	-Wl,--start-group $(filter %.a,$^) -Wl,--end-group

$(B)/orrery: $(B)/ui/main.o $(ARCHIVES)
	$(say) LINK $@
	$(link) $(LIBS)
ifeq ($(wildcard ui/main.c),)
$(B)/ui/main.o: FORCE
	@echo 'ui/main.c is not there yet: no program to build' >&2; exit 1
endif

# --------------------------------------------------------------- unit tests
# tests/unit/test_X.c is one program. A comment in its first five lines,
# /* link: hw core block */, names the archives it links; core alone if none.

UNIT := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(TESTS))
define unit
$(B)/$(basename $(1)): $(B)/$(basename $(1)).o $(B)/support.a \
	$(foreach a,$(or $(shell sed -n '1,5s|^/\* *link: *\(.*[^ ]\) *\*/.*|\1|p' \
	$(1)),core),$(B)/$a.a)
endef
$(foreach t,$(TESTS),$(eval $(call unit,$t)))
$(UNIT):
	$(say) LINK $@
	$(link) $(LIBS) $(CMOCKA_LIBS)
unit-programs: $(UNIT)

# tests/crash/crash_X.c: programs on the block layer alone
CRASH := $(patsubst %.c,$(B)/%,$(call srcs,tests/crash/crash_*.c))
ALL_OBJS += $(CRASH:=.o) $(B)/tests/crash/rig.o
$(CRASH): %: %.o $(B)/tests/crash/rig.o $(B)/block.a \
	$(call objs,$(call srcs,core/base/*.c core/loop/*.c))
	$(say) LINK $@
	$(link) $(LIBS) $(LINK_CRASH)
$(B)/tests/crash/crash_power: LINK_CRASH = -rdynamic -Wl,--wrap=node_flush

-include $(patsubst %.o,%.d,$(ALL_OBJS))

# ------------------------------------------------------------------- checks
# Every runner writes "N passed, N failed" as its last line.

runner = python3 tests/run.py B=$(B) GUESTS=$(GUESTS)

check-unit: $(UNIT)
	@$(runner) $(UNIT)

# SANITIZED=DIR: the unit tests built there, under the sanitizers, as well.
check: $(B)/orrery $(UNIT) guests
	@$(runner) $(UNIT) \
	    tests/layers.sh 'tests/nolibc.sh $(B)' tests/system \
	    $(if $(SANITIZED),B=$(SANITIZED) \
	    $(patsubst $(B)/%,$(SANITIZED)/%,$(UNIT)))

check-system: $(B)/orrery guests
	@$(runner) tests/system

check-long: $(B)/orrery $(UNIT) guests
	@TEST_LIMIT=$${TEST_LIMIT:-5400} $(runner) tests/long

# suite FILE: run a suite of a later issue, or say that it is not there
suite = @if [ -e $(1) ]; then $(2); else \
	echo '$@: $(1) is not there yet' >&2; exit 1; fi
# Kills, power cuts, errors, a full disk; under ten minutes.
check-crash: $(CRASH) $(B)/orrery
	@sh tests/guests/all.sh $(GUESTS) flushdisk
	@$(runner) '$(B)/tests/crash/crash_kill 200' \
	    '$(B)/tests/crash/crash_power 500' \
	    '$(B)/tests/crash/crash_power --mutants 40' \
	    '$(B)/tests/crash/crash_fault 1795395709' \
	    $(B)/tests/crash/crash_fault tests/crash
check-soak: ; $(call suite,tests/soak,$(runner) tests/soak)
fuzz: ; $(call suite,tests/fuzz/run.sh,sh tests/fuzz/run.sh $(B))
bench: ; $(call suite,tests/bench/run.sh,sh tests/bench/run.sh $(B))

# Test guests from Debian packages; each is built once, and again when its
# builder changes. GUESTS=DIR lets several builds share them.
GUESTS ?= $(B)/guests
guests:
	$(Q)sh tests/guests/all.sh $(GUESTS)

# From a bare machine to a Linux on the screen.
run:
	$(call reconfigure,--install-deps --quiet)
	@$(MAKE) --no-print-directory -j$$(nproc) B=$(B) all
	@sh tests/guests/all.sh $(GUESTS) live
	@sh assets/run-demo.sh $(B)/orrery $(GUESTS)/live.iso

# ------------------------------------------------------------------ install

DESTDIR ?=
install: $(B)/orrery
	install -Dm755 $(B)/orrery $(DESTDIR)$(PREFIX)/bin/orrery
	install -Dm644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/orrery/LICENSE
	$(if $(wildcard assets/orrery.1),install -Dm644 assets/orrery.1 \
	    $(DESTDIR)$(PREFIX)/share/man/man1/orrery.1)
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(B)/orrery img --man >$(DESTDIR)$(PREFIX)/share/man/man1/orrery-img.1
	$(B)/orrery img --bash-completion \
	    >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/orrery

clean:
	rm -rf $(B)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

help:
	@echo 'make              build $$(B)/orrery (B=build)'
	@echo 'make run          install what is missing, build, boot a live Linux ISO'
	@echo 'make check        all unit tests, source checks and system tests'
	@echo 'make check-unit   unit tests alone'
	@echo 'make check-system system tests alone (real guests)'
	@echo 'make check-long   what is too long for check (memtest86+, ...)'
	@echo 'make check-crash  make check-soak  make fuzz  make bench'
	@echo 'make guests       build the test guests in $$(B)/guests'
	@echo 'make install      into PREFIX (configure --prefix), DESTDIR honoured'
	@echo 'make format       clang-format everything; make clean; V=1 shows commands'
	@echo 'configuration:    ./configure --help'
