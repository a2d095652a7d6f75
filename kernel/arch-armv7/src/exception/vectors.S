@ Exception entry, in ARM state (SCTLR.TE is clear); the handlers are Thumb code. The kernel runs in SVC mode only, on one stack; every exception is taken onto that stack, so
@ handlers nest and may be interrupted like any other code. Each pushes a Frame (frame.rs):
@
@   sp ▶ r0 .. r12 | sp | lr | pc | cpsr        pc and cpsr by SRS, the rest by the entry code
@
@ Abort mode owns the overflow stack. A data abort first asks the MMU whether the frame would fit on the SVC stack
@ (a guard page lies below it); if not, the frame and the report go onto the overflow stack.
@
@ The section is one page, mapped where it is linked (VBAR, early) and at 0xffff0000 (SCTLR.V, final tables); only
@ the table itself runs from there. Source: ARM DDI 0406C, B1.8 and B1.9.

    .set    MODE_SVC, 0x13
    .set    MODE_ABT, 0x17
    .set    PSR_T, 1 << 5
    .set    FRAME_SP, 13 * 4
    .set    FRAME_SIZE, 17 * 4
    .set    ABT_SCRATCH, 64         @ of the overflow stack, for the first words of a data abort

    .section .vectors, "ax"
    .arm
    .global exception_vectors
exception_vectors:
    .rept 8
    ldr     pc, [pc, #0x18]
    .endr
    .word   vector_reset
    .word   vector_undefined
    .word   vector_svc
    .word   vector_prefetch
    .word   vector_data
    .word   vector_reset            @ Hyp entry: not ours
    .word   vector_irq
    .word   vector_fiq

    @ On the SVC stack, above pc and cpsr: the rest of the frame; r0 := frame, r4 := sp, which is then aligned.
    .macro  push_frame
    sub     sp, sp, #8
    push    {r0-r12}
    add     r0, sp, #FRAME_SIZE
    str     r0, [sp, #FRAME_SP]
    str     lr, [sp, #FRAME_SP + 4]
    mov     r0, sp
    mov     r4, sp
    bic     sp, sp, #7              @ AAPCS: 8-byte alignment at a call
    .endm

    @ Back to where the frame came from. CLREX: a STREX there must not pair with a LDREX of the handler.
    .macro  pop_frame
    mov     sp, r4
    clrex
    ldr     lr, [sp, #FRAME_SP + 4]
    pop     {r0-r12}
    add     sp, sp, #8
    rfeia   sp!
    .endm

    .macro  entry name, correction, kind
\name:
    .if \correction
    sub     lr, lr, #\correction
    .endif
    srsdb   sp!, #MODE_SVC
    cps     #MODE_SVC
    push_frame
    mov     r1, #\kind
    bl      exception_entry
    pop_frame
    .endm

    entry   vector_reset, 0, 0
    entry   vector_undefined, 4, 1
    entry   vector_svc, 4, 2
    entry   vector_prefetch, 4, 3
    entry   vector_fiq, 4, 5

vector_data:
    sub     lr, lr, #8
    push    {r0, r1}
    cps     #MODE_SVC
    mov     r0, sp
    cps     #MODE_ABT
    sub     r0, r0, #(FRAME_SIZE + 8)
    mcr     p15, 0, r0, c7, c8, 1   @ ATS1CPW: could the frame be written?
    isb
    mrc     p15, 0, r0, c7, c4, 0   @ PAR
    tst     r0, #1
    pop     {r0, r1}
    bne     1f
    srsdb   sp!, #MODE_SVC
    cps     #MODE_SVC
    push_frame
    mov     r1, #4
    bl      exception_entry
    pop_frame

1:  sub     sp, sp, #ABT_SCRATCH
    srsdb   sp!, #MODE_ABT
    sub     sp, sp, #8
    push    {r0-r12}
    mov     r0, sp
    cps     #MODE_SVC
    str     sp, [r0, #FRAME_SP]
    str     lr, [r0, #FRAME_SP + 4]
    bic     sp, r0, #7
    mov     r1, #6
    bl      exception_entry
2:  b       2b

vector_irq:
    sub     lr, lr, #4
    srsdb   sp!, #MODE_SVC
    cps     #MODE_SVC
    push    {r0-r4, r12, lr}
    mov     r4, sp
    bic     sp, sp, #7
    bl      irq_entry
    mov     sp, r4
    clrex
    pop     {r0-r4, r12, lr}
    rfeia   sp!

    @ Gives abort mode its stack: r0 its top. Interrupts are masked.
    .global exception_set_abort_stack
    .type exception_set_abort_stack, %function
exception_set_abort_stack:
    cps     #MODE_ABT
    mov     sp, r0
    cps     #MODE_SVC
    bx      lr

    @ Stores the caller's registers in the frame at r0, with the return address as pc, and the caller's state.
    .global exception_capture
    .type exception_capture, %function
exception_capture:
    stmia   r0, {r0-r12}
    str     sp, [r0, #FRAME_SP]
    str     lr, [r0, #FRAME_SP + 4]
    bic     r1, lr, #1
    str     r1, [r0, #FRAME_SP + 8]
    mrs     r1, cpsr
    tst     lr, #1
    orrne   r1, r1, #PSR_T
    str     r1, [r0, #FRAME_SP + 12]
    bx      lr
