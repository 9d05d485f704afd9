/* The optimizers' updates, and ReLU's gradient, as single loops: each formula of optimizers.py, operation by operation,
   in the same order and with the same roundings, so that it leaves the same bits as NumPy's passes, in a third of the
   time.

   Built where a C compiler is at hand; everything works without it. Must be compiled without contraction of a * b + c
   and without any -ffast-math, or bits change (tests/engine/test_engine_loops.py). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "numbers are kept longer than they are stored here: other bits than NumPy's"
#endif

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define QUICK __attribute__((target_clones("avx512f", "avx2", "default"))) /* the processor's widest, at run time */
#else
#define QUICK
#endif

#define MOST_ARRAYS 4
#define RELEASE 16384 /* numbers from which other threads may run meanwhile */

typedef void (*Loop)(void **arrays, const void *constants, Py_ssize_t n);

/* clang-format off */
#define OF(T, SQRT) \
QUICK static void descend_##T(void **arrays, const void *constants, Py_ssize_t n) { \
    T *restrict theta = arrays[0]; const T *restrict g = arrays[1]; \
    const T rate = ((const T *)constants)[0]; \
    for (Py_ssize_t i = 0; i < n; i++) theta[i] -= g[i] * rate; \
} \
QUICK static void momentum_##T(void **arrays, const void *constants, Py_ssize_t n) { \
    T *restrict theta = arrays[0]; const T *restrict g = arrays[1]; T *restrict v = arrays[2]; \
    const T *k = constants, share = k[0], rate = k[1]; \
    for (Py_ssize_t i = 0; i < n; i++) { \
        v[i] = v[i] * share + g[i]; \
        theta[i] -= v[i] * rate; \
    } \
} \
QUICK static void adagrad_##T(void **arrays, const void *constants, Py_ssize_t n) { \
    T *restrict theta = arrays[0]; const T *restrict g = arrays[1]; T *restrict h = arrays[2]; \
    const T *k = constants, epsilon = k[0], rate = k[1]; \
    for (Py_ssize_t i = 0; i < n; i++) { \
        h[i] += g[i] * g[i]; \
        theta[i] -= g[i] / (SQRT(h[i]) + epsilon) * rate; \
    } \
} \
QUICK static void rmsprop_##T(void **arrays, const void *constants, Py_ssize_t n) { \
    T *restrict theta = arrays[0]; const T *restrict g = arrays[1]; T *restrict h = arrays[2]; \
    const T *k = constants, rho = k[0], rest = k[1], epsilon = k[2], rate = k[3]; \
    for (Py_ssize_t i = 0; i < n; i++) { \
        h[i] = h[i] * rho + g[i] * g[i] * rest; \
        theta[i] -= g[i] / (SQRT(h[i]) + epsilon) * rate; \
    } \
} \
QUICK static void adam_##T(void **arrays, const void *constants, Py_ssize_t n) { \
    T *restrict theta = arrays[0]; const T *restrict g = arrays[1]; \
    T *restrict m = arrays[2], *restrict v = arrays[3]; \
    const T *k = constants, beta1 = k[0], beta2 = k[1], epsilon = k[2], rate = k[3], kept = k[4]; \
    for (Py_ssize_t i = 0; i < n; i++) { \
        m[i] = m[i] * beta1 + g[i]; \
        v[i] = v[i] * beta2 + g[i] * g[i]; \
        theta[i] = theta[i] * kept - m[i] / (SQRT(v[i]) + epsilon) * rate; \
    } \
} \
QUICK static void gate_##T(void **arrays, const void *constants, Py_ssize_t n) { \
    const T *y = arrays[0], *dy = arrays[1]; T *dx = arrays[2]; /* dx may be dy */ \
    const T least = ((const T *)constants)[0]; \
    _Pragma("GCC ivdep") \
    for (Py_ssize_t i = 0; i < n; i++) dx[i] = dy[i] * (y[i] > least ? (T)1 : (T)0); \
}
/* clang-format on */

OF(float, sqrtf)
OF(double, sqrt)

static const struct {
    const char *name;
    int arrays, constants;
    Loop of_float, of_double;
} LOOPS[] = {
    {"descend", 2, 1, descend_float, descend_double},
    {"momentum", 3, 2, momentum_float, momentum_double},
    {"adagrad", 3, 2, adagrad_float, adagrad_double},
    {"rmsprop", 3, 4, rmsprop_float, rmsprop_double},
    {"adam", 4, 5, adam_float, adam_double},
    {"gate", 3, 1, gate_float, gate_double},
};

/* --- a loop bound to its arrays: a function of no arguments ------------------------------------------------------- */

typedef struct {
    Loop loop;
    int held;
    Py_ssize_t n;
    void *arrays[MOST_ARRAYS];
    Py_buffer views[MOST_ARRAYS + 1];
} Bound;

static const char BOUND[] = "service.engine._loops.bound";

static void let_go(PyObject *capsule) {
    Bound *bound = PyCapsule_GetPointer(capsule, BOUND);
    for (int i = 0; i < bound->held; i++) PyBuffer_Release(&bound->views[i]);
    PyMem_Free(bound);
}

static PyObject *run(PyObject *capsule, PyObject *Py_UNUSED(nothing)) {
    Bound *bound = PyCapsule_GetPointer(capsule, BOUND);
    if (bound == NULL) return NULL;
    const void *constants = bound->views[bound->held - 1].buf;
    if (bound->n < RELEASE) {
        bound->loop(bound->arrays, constants, bound->n);
    } else {
        Py_BEGIN_ALLOW_THREADS
        bound->loop(bound->arrays, constants, bound->n);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

static PyMethodDef RUN = {"run", run, METH_NOARGS, "The whole update, once."};

/* Holds one more vector, of the first one's type. */
static int hold(Bound *bound, PyObject *vector) {
    Py_buffer *view = &bound->views[bound->held];
    if (PyObject_GetBuffer(vector, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) return -1;
    bound->held++;
    const char *format = view->format == NULL ? "" : view->format;
    int real = strcmp(format, "f") == 0 || strcmp(format, "d") == 0;
    if (real && strcmp(format, bound->views[0].format) == 0 && (uintptr_t)view->buf % (size_t)view->itemsize == 0)
        return 0;
    PyErr_SetString(PyExc_ValueError, "needs aligned vectors of one type, float32 or float64");
    return -1;
}

static int hold_all(Bound *bound, PyObject *arrays, PyObject *constants) {
    int count = (int)PyTuple_GET_SIZE(arrays);
    for (int i = 0; i < count; i++) {
        if (hold(bound, PyTuple_GET_ITEM(arrays, i)) < 0) return -1;
        bound->arrays[i] = bound->views[i].buf;
        if (bound->views[i].len != bound->views[0].len) {
            PyErr_SetString(PyExc_ValueError, "needs vectors of one length");
            return -1;
        }
    }
    bound->n = bound->views[0].len / bound->views[0].itemsize;
    return hold(bound, constants);
}

static PyObject *bind(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *name;
    PyObject *arrays, *constants;
    if (!PyArg_ParseTuple(args, "sO!O", &name, &PyTuple_Type, &arrays, &constants)) return NULL;
    size_t which = 0, count = sizeof LOOPS / sizeof *LOOPS;
    while (which < count && strcmp(LOOPS[which].name, name) != 0) which++;
    if (which == count || PyTuple_GET_SIZE(arrays) != LOOPS[which].arrays)
        return PyErr_Format(PyExc_ValueError, "no loop '%s' of %zd arrays", name, PyTuple_GET_SIZE(arrays));
    Bound *bound = PyMem_Calloc(1, sizeof *bound);
    if (bound == NULL) return PyErr_NoMemory();
    PyObject *capsule = PyCapsule_New(bound, BOUND, let_go);
    if (capsule == NULL) {
        PyMem_Free(bound);
        return NULL;
    }
    PyObject *found = NULL;
    if (hold_all(bound, arrays, constants) == 0) {
        Py_buffer *k = &bound->views[bound->held - 1];
        bound->loop = k->itemsize == sizeof(float) ? LOOPS[which].of_float : LOOPS[which].of_double;
        if (k->len == LOOPS[which].constants * k->itemsize)
            found = PyCFunction_New(&RUN, capsule);
        else
            PyErr_Format(PyExc_ValueError, "'%s' has %d constants", name, LOOPS[which].constants);
    }
    Py_DECREF(capsule);
    return found;
}

static PyMethodDef METHODS[] = {
    {"bind", bind, METH_VARARGS, "bind(name, arrays, constants) -> a function of no arguments that runs the loop."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_loops", "Updates as single loops.", -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__loops(void) { return PyModule_Create(&MODULE); }
