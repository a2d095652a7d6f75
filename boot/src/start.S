@ Reset to MMU-on. Position-independent up to `mmu_on`: every address is computed from the pc, and nothing
@ but the boot stack in this section is written. Source: Linux Documentation/arm/booting.rst; ARM DDI 0406C.
@
@ Kept from entry to the kernel, in the order of BootInfo where that matters:
@   r4 kind of r2 | r5 its size | r6 appended | r7 its size | r8 PHYS_OFFSET | r9 entry mode | r10 r1 | r11 r2 | r12 load

    .section .head.text, "ax"
    .arm
    .arch_extension virt
    .arch_extension sec
    .balign 64
    .global _start
_start:
    .rept 8
    mov     r0, r0
    .endr
    b       entry
    .word   {ZIMAGE_MAGIC}          @ 0x24
    .word   0                       @ 0x28  start: position-independent
    .word   __image_size            @ 0x2c  end
    .word   {ZIMAGE_ENDIAN}         @ 0x30
    .word   0x45454545              @ 0x34
    .word   0, 0

entry:
    adr     r12, _start
    mov     r10, r1
    mov     r11, r2
    mrs     r3, cpsr
    and     r9, r3, #0x1f
    cmp     r9, #{MODE_HYP}
    beq     from_hyp
in_svc:
    cpsid   aif, #0x13
    mrc     p15, 0, r3, c0, c0, 5   @ MPIDR: only CPU 0 of a cluster goes on
    tst     r3, #0xff
    bne     park
    ldr     r0, ={SCTLR_OFF}
    mrc     p15, 0, r3, c1, c0, 0
    bic     r3, r3, r0
    mcr     p15, 0, r3, c1, c0, 0
    isb
    add     r3, r12, #{EARLY_VECTORS}
    mcr     p15, 0, r3, c12, c0, 0  @ VBAR
    isb
    add     sp, r12, #{EARLY_STACK_TOP}
    bl      look_at_r2
    bl      look_for_appended

    @ Where to run: boot_place(load, file, total, tree, tree_len on the stack)
    mov     r0, r12
    ldr     r1, =__image_size
    add     r1, r1, r7
    bl      image_total
    mov     r3, r11
    push    {{r5, r12}}
    bl      boot_place
    pop     {{r3, r12}}
    cmp     r0, #{NO_PLACE}
    beq     no_place
    mov     r8, r0
    add     r0, r0, #{TEXT_OFFSET}
    cmp     r0, r12
    beq     placed

    @ Move the image: the copy loop goes to the scratch place and works on r0 to, r1 from, r2 bytes.
    push    {{r4-r12}}              @ goes with the image to its new place
    adr     r2, copy_start
    mov     r3, r1
    mov     r4, #{SCRATCH_SIZE}
1:  ldr     r5, [r2], #4
    str     r5, [r3], #4
    subs    r4, r4, #4
    bgt     1b
    bl      sync_code
    mov     r3, r1
    mov     r1, r12
    ldr     r2, =__image_size
    add     r2, r2, r7
    add     r2, r2, #31
    bic     r2, r2, #31
    adr     lr, moved
    sub     lr, lr, r12
    add     lr, lr, r0
    sub     sp, sp, r12
    add     sp, sp, r0
    bx      r3
moved:
    pop     {{r4-r12}}
    sub     r6, r6, r12             @ what is appended came along
    add     r6, r6, r8
    add     r6, r6, #{TEXT_OFFSET}
placed:
    bl      move_appended
    bl      build_tables
    bl      clean_start
    b       enable_mmu

    @ --- HYP: give PL1 everything, then return to SVC (ARM DDI 0406C, B1.7) ---
from_hyp:
    mrc     p15, 0, r3, c0, c1, 1   @ ID_PFR1: generic timer present?
    tst     r3, #0xf0000
    beq     1f
    mrc     p15, 4, r3, c14, c1, 0  @ CNTHCTL: PL1 may use counter and timer
    orr     r3, r3, #3
    mcr     p15, 4, r3, c14, c1, 0
    mov     r3, #0
    mcrr    p15, 4, r3, r3, c14     @ CNTVOFF
1:  mov     r3, #0
    mcr     p15, 4, r3, c1, c1, 0   @ HCR: no stage 2, nothing routed here
    mcr     p15, 4, r3, c1, c1, 3   @ HSTR: no CP15 traps
    movw    r3, #0x33ff
    mcr     p15, 4, r3, c1, c1, 2   @ HCPTR: no coprocessor traps (the bits set are fixed ones)
    mrc     p15, 4, r3, c1, c1, 1   @ HDCR: no debug traps, all counters for PL1
    and     r3, r3, #0x1f
    mcr     p15, 4, r3, c1, c1, 1
    mrc     p15, 0, r3, c0, c0, 0
    mcr     p15, 4, r3, c0, c0, 0   @ VPIDR
    mrc     p15, 0, r3, c0, c0, 5
    mcr     p15, 4, r3, c0, c0, 5   @ VMPIDR
    mov     r3, #0x1d3              @ SVC, A I F masked
    msr     spsr_cxsf, r3
    adr     r3, in_svc
    msr     elr_hyp, r3
    isb
    eret

    @ --- r4, r5 := what r2 points to and its size ---
look_at_r2:
    mov     r4, #0
    mov     r5, #0
    tst     r11, #3
    bne     9f
    cmp     r11, #0
    beq     9f
    ldr     r3, ={DTB_MAGIC}
    ldmia   r11, {{r0, r1}}
    cmp     r0, r3
    bne     1f
    mov     r4, #{KIND_TREE}
    rev     r5, r1
    cmp     r5, #{TREE_LIMIT}   @ a corrupt header must not rule out every place
    movhi   r5, #{TREE_LIMIT}
    bx      lr
1:  ldr     r3, ={ATAG_CORE}
    cmp     r1, r3
    bne     9f
    mov     r4, #{KIND_ATAGS}
2:  ldr     r0, [r11, r5]           @ words of this tag; the last has none
    add     r5, r5, r0, lsl #2
    cmp     r0, #0
    addeq   r5, r5, #8
    bxeq    lr
    cmp     r0, #({ATAG_LIMIT} / 4)
    cmplo   r5, #{ATAG_LIMIT}
    blo     2b
    mov     r5, #{ATAG_LIMIT}
9:  bx      lr

    @ --- r6, r7 := tree appended to the image file, with or without marker, and its size; r7 = 0 without one ---
look_for_appended:
    ldr     r6, =__image_size
    add     r6, r6, r12
    mov     r7, #0
    push    {{r4, r5}}
    ldmia   r6, {{r0-r3}}
    ldr     r4, ={DTB_MAGIC}
    cmp     r0, r4
    reveq   r3, r1
    moveq   r5, #7
    beq     1f
    ldr     r4, ={MARKER0}
    cmp     r0, r4
    ldreq   r4, ={MARKER1}
    cmpeq   r1, r4
    ldreq   r4, ={MARKER2}
    cmpeq   r2, r4
    moveq   r5, #({MARKER_SIZE} + 7)
1:  bne     2f
    cmp     r3, #{TREE_LIMIT}
    addls   r7, r3, r5
    bicls   r7, r7, #7
2:  pop     {{r4, r5}}
    bx      lr

    @ --- r2 := bytes from _start that the running image takes, with what is appended ---
image_total:
    ldr     r2, =_end
    ldr     r3, =_text
    sub     r2, r2, r3
    add     r2, r2, r7
    bx      lr

    @ --- The copy loop; runs at the scratch place, from its last line in the moved image ---
copy_start:
    cmp     r0, r1
    bhi     2f
1:  ldmia   r1!, {{r3-r10}}
    stmia   r0!, {{r3-r10}}
    subs    r2, r2, #32
    bhi     1b
    b       3f
2:  add     r0, r0, r2
    add     r1, r1, r2
4:  ldmdb   r1!, {{r3-r10}}
    stmdb   r0!, {{r3-r10}}
    subs    r2, r2, #32
    bhi     4b
3:  mov     r3, #0
    dsb
    mcr     p15, 0, r3, c7, c5, 0   @ ICIALLU
    mcr     p15, 0, r3, c7, c5, 6   @ BPIALL
    dsb
    isb
    bx      lr
    .org    copy_start + {SCRATCH_SIZE} @ fails to assemble when the loop does not fit its scratch place

    @ --- Makes stored instructions executable; the data cache is off, so stores are in memory after the DSB ---
sync_code:
    mov     r3, #0
    dsb
    mcr     p15, 0, r3, c7, c5, 0   @ ICIALLU
    mcr     p15, 0, r3, c7, c5, 6   @ BPIALL
    dsb
    isb
    bx      lr

    @ --- Moves the appended tree behind _end, out of the way of the BSS; last word first, it moves up ---
move_appended:
    cmp     r7, #0
    bxeq    lr
    push    {{lr}}
    ldr     r0, =_end
    ldr     r1, ={PAGE_OFFSET}
    sub     r0, r0, r1
    add     r3, r0, r8
    add     r0, r3, r7
    add     r1, r6, r7
    mov     r6, r3
    mov     r2, r7
1:  ldmdb   r1!, {{r3, lr}}
    stmdb   r0!, {{r3, lr}}
    subs    r2, r2, #8
    bgt     1b
    pop     {{pc}}

    @ --- swapper_pg_dir ---
build_tables:
    push    {{lr}}
    add     r0, r8, #{PG_DIR_OFFSET}
    mov     r1, #0
    mov     r2, #0
    mov     r3, #0
    mov     lr, #0
1:  stmia   r0!, {{r1-r3, lr}}
    stmia   r0!, {{r1-r3, lr}}
    stmia   r0!, {{r1-r3, lr}}
    stmia   r0!, {{r1-r3, lr}}
    tst     r0, #({PG_DIR_SIZE} - 64)
    bne     1b
    sub     r0, r0, #{PG_DIR_SIZE}

    ldr     r1, ={SECT_NORMAL}      @ identity: the section with this code
    orr     r1, r1, r8
    lsr     r2, r8, #20
    str     r1, [r0, r2, lsl #2]

    add     r2, r0, #{KERNEL_ENTRY} @ kernel: through the section that holds the last byte of the BSS
    ldr     r3, =_end - 1
    ldr     lr, ={PAGE_OFFSET}
    sub     r3, r3, lr
2:  str     r1, [r2], #4
    add     r1, r1, #0x100000
    subs    r3, r3, #0x100000
    bhs     2b

    cmp     r4, #{KIND_TREE}        @ device tree: its section and the next
    bne     3f
    ldr     r1, ={SECT_NORMAL_XN}
    lsr     r2, r11, #20
    orr     r1, r1, r2, lsl #20
    ldr     r2, ={DT_ENTRY}
    add     r2, r2, r0
    str     r1, [r2], #4
    adds    r1, r1, #0x100000
    strcc   r1, [r2]

3:  bl      machine_uart            @ early UART, by machine number
    cmp     r3, #0
    popeq   {{pc}}
    lsr     r3, r3, #20
    ldr     r1, ={SECT_DEVICE}
    orr     r1, r1, r3, lsl #20
    ldr     r2, ={UART_ENTRY}
    str     r1, [r0, r2]
    pop     {{pc}}

    @ --- r3 := physical address of the machine's UART, 0 when it is not known ---
machine_uart:
    ldr     r3, ={MACH_VEXPRESS}
    cmp     r10, r3
    ldreq   r3, ={UART_VEXPRESS}
    bxeq    lr
    ldr     r3, ={MACH_BCM2709}
    cmp     r10, r3
    ldreq   r3, ={UART_BCM2709}
    movne   r3, #0
    bx      lr

    @ --- A state from which MMU and caches can go on (ARM DDI 0406C, B2.2; Cortex-A7 TRM 4.3.31) ---
clean_start:
    mrc     p15, 0, r0, c1, c0, 1   @ ACTLR.SMP: coherency, before the caches; read-only to Non-secure
    tst     r0, #(1 << 6)
    orreq   r0, r0, #(1 << 6)
    mcreq   p15, 0, r0, c1, c0, 1
    mov     r0, #0
    dsb
    mcr     p15, 0, r0, c8, c7, 0   @ TLBIALL
    mcr     p15, 0, r0, c7, c5, 0   @ ICIALLU
    mcr     p15, 0, r0, c7, c5, 6   @ BPIALL
    dsb
    isb
    push    {{r4, r5}}
    mrc     p15, 1, r0, c0, c0, 1   @ CLIDR: is there a level 1 data cache?
    tst     r0, #6
    beq     9f
    mov     r0, #0
    mcr     p15, 2, r0, c0, c0, 0   @ CSSELR
    isb
    mrc     p15, 1, r0, c0, c0, 0   @ CCSIDR
    and     r1, r0, #7
    add     r1, r1, #4              @ log2 of the line size
    ubfx    r2, r0, #3, #10         @ ways - 1
    ubfx    r3, r0, #13, #15        @ sets - 1
    clz     r4, r2
1:  mov     r0, r2
2:  lsl     r5, r0, r4
    orr     r5, r5, r3, lsl r1
    mcr     p15, 0, r5, c7, c6, 2   @ DCISW
    subs    r0, r0, #1
    bge     2b
    subs    r3, r3, #1
    bge     1b
9:  dsb
    isb
    pop     {{r4, r5}}
    bx      lr

enable_mmu:
    add     r0, r8, #{PG_DIR_OFFSET}
    orr     r0, r0, #{TTBR_FLAGS}
    mov     r1, #0
    mov     r2, #{DACR}
    mcr     p15, 0, r1, c2, c0, 2   @ TTBCR
    mcr     p15, 0, r0, c2, c0, 0   @ TTBR0
    mcr     p15, 0, r0, c2, c0, 1   @ TTBR1
    mcr     p15, 0, r2, c3, c0, 0   @ DACR
    mcr     p15, 0, r1, c13, c0, 1  @ CONTEXTIDR
    ldr     r1, ={SCTLR_CLEAR}
    ldr     r2, ={SCTLR_SET}
    ldr     lr, =mmu_on
    mrc     p15, 0, r0, c1, c0, 0
    bic     r0, r0, r1
    orr     r0, r0, r2
    dsb
    isb
    mcr     p15, 0, r0, c1, c0, 0   @ SCTLR
    isb
    bx      lr

    @ --- Here addresses are virtual ---
mmu_on:
    ldr     sp, =__boot_stack_top
    ldr     r0, =__bss_start
    ldr     r1, =__bss_stop
    push    {{r4, r5}}
    mov     r2, #0
    mov     r3, #0
    mov     r4, #0
    mov     r5, #0
1:  cmp     r0, r1
    stmialo r0!, {{r2-r5}}
    stmialo r0!, {{r2-r5}}
    stmialo r0!, {{r2-r5}}
    stmialo r0!, {{r2-r5}}
    blo     1b
    pop     {{r4, r5}}
    ldr     r0, =boot_info
    str     r10, [r0]
    str     r11, [r0, #4]
    str     r8, [r0, #8]
    str     r4, [r0, #12]
    str     r5, [r0, #16]
    str     r6, [r0, #20]
    str     r7, [r0, #24]
    str     r9, [r0, #28]
    str     r12, [r0, #32]
    mov     r7, #0                  @ the oldest frame record
    mov     lr, #0
    ldr     r1, =kernel_entry       @ Thumb code
    bx      r1

    @ --- Failures before there is a kernel to report them ---
no_place:
    adr     r0, no_place_text
    b       say_and_stop

early_exception:
    adr     r0, exception_text
say_and_stop:
    bl      machine_uart
    cmp     r3, #0
    beq     park
1:  ldrb    r1, [r0], #1
    cmp     r1, #0
    beq     park
2:  ldr     r2, [r3, #0x18]         @ PL011 UARTFR: full?
    tst     r2, #0x20
    bne     2b
    str     r1, [r3]
    b       1b

    @ Secondary CPUs, and a boot that cannot go on: asleep, every interrupt masked.
park:
    cpsid   aif
3:  wfe
    b       3b

    .ltorg
no_place_text:
    .asciz  "boot: no place for the image: it must run at a multiple of 2 MiB + 0x8000, clear of the device tree\r\n"
exception_text:
    .asciz  "boot: exception before the MMU was on\r\n"

    .org    _start + {EARLY_VECTORS}
    .rept 8
    b       early_exception
    .endr
    .org    _start + {EARLY_STACK_TOP}

    .section .data, "aw"
    .balign 4
boot_info:
    .space  36
