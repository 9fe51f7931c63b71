# claviger.m4: the few checks of our own that configure.ac uses.

# CLAVIGER_CFLAG(VARIABLE, FLAG)
# Appends FLAG to VARIABLE when the compiler takes it without a warning.
AC_DEFUN([CLAVIGER_CFLAG], [
  AS_VAR_PUSHDEF([cache], [claviger_cv_cflag_$2])
  AC_CACHE_CHECK([whether $CC accepts $2], [cache], [
    claviger_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $2"
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    CFLAGS=$claviger_saved_CFLAGS
  ])
  AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
  AS_VAR_POPDEF([cache])
])

# CLAVIGER_LDFLAG(VARIABLE, FLAG, [COMPILER-FLAGS])
# Appends FLAG to VARIABLE when a program links with it (compiled with COMPILER-FLAGS).
AC_DEFUN([CLAVIGER_LDFLAG], [
  AS_VAR_PUSHDEF([cache], [claviger_cv_ldflag_$2])
  AC_CACHE_CHECK([whether the linker accepts $2], [cache], [
    claviger_saved_CFLAGS=$CFLAGS
    claviger_saved_LDFLAGS=$LDFLAGS
    CFLAGS="$CFLAGS -Werror $3"
    LDFLAGS="$LDFLAGS $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    CFLAGS=$claviger_saved_CFLAGS
    LDFLAGS=$claviger_saved_LDFLAGS
  ])
  AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
  AS_VAR_POPDEF([cache])
])

# CLAVIGER_FORTIFY(VARIABLE)
# Appends -D_FORTIFY_SOURCE=2 to VARIABLE. The C library warns about it in a build without optimisation, and a value
# that the builder chose stays.
AC_DEFUN([CLAVIGER_FORTIFY], [
  AS_CASE([" $CPPFLAGS $CFLAGS"],
    [*_FORTIFY_SOURCE*], [],
    [AC_CACHE_CHECK([whether _FORTIFY_SOURCE works], [claviger_cv_fortify], [
       claviger_saved_CFLAGS=$CFLAGS
       CFLAGS="$CFLAGS -Werror -D_FORTIFY_SOURCE=2"
       AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <string.h>
#if !defined __OPTIMIZE__
#error "not optimising"
#endif]], [[char b[8]; memset(b, 0, sizeof b); return b[0];]])],
         [claviger_cv_fortify=yes], [claviger_cv_fortify=no])
       CFLAGS=$claviger_saved_CFLAGS
     ])
     AS_VAR_IF([claviger_cv_fortify], [yes], [AS_VAR_APPEND([$1], [" -D_FORTIFY_SOURCE=2"])])])
])

# CLAVIGER_RUNSTATEDIR
# Where the pid file and the control socket go. Autoconf before 2.70 knows no runstatedir, and newer ones make
# /var/run of it, which has been a symbolic link to /run for long.
AC_DEFUN([CLAVIGER_RUNSTATEDIR], [
  AS_IF([test "x$runstatedir" = x || test "x$runstatedir" = 'x${localstatedir}/run'],
    [AS_IF([test "x$localstatedir" = x/var], [runstatedir=/run], [runstatedir='${localstatedir}/run'])])
  AC_SUBST([runstatedir])
])

# CLAVIGER_DIR(NAME, WHAT, DEFAULT)
# The option --with-NAMEdir and the variable NAMEdir: where WHAT is installed; empty, which automake takes for nowhere,
# with "no".
AC_DEFUN([CLAVIGER_DIR], [
  AC_ARG_WITH([$1dir],
    [AS_HELP_STRING([--with-$1dir=DIR], m4_quote(m4_normalize([$2 goes there; no = nowhere @<:@$3@:>@])))],
    [], [with_$1dir=yes])
  AS_CASE([$with_$1dir], [yes], [$1dir='$3'], [no], [$1dir=], [$1dir=$with_$1dir])
  AC_SUBST([$1dir])
])
