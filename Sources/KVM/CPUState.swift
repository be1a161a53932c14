// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Seams

extension CPUState.Segment {
  var kernel: kvm_segment {
    var segment = kvm_segment()
    segment.base = base
    segment.limit = limit
    segment.selector = selector
    segment.type = type
    segment.present = present
    segment.dpl = dpl
    segment.s = s
    segment.l = l
    segment.db = db
    segment.g = g
    segment.unusable = present == 0 ? 1 : 0
    return segment
  }
}

extension CPUState {
  /// Stores the segment, table and control registers.
  func apply(to registers: inout kvm_sregs) {
    registers.cs = cs.kernel
    registers.ds = data.kernel
    registers.es = data.kernel
    registers.fs = data.kernel
    registers.gs = data.kernel
    registers.ss = data.kernel
    registers.tr = tr.kernel
    registers.ldt = ldt.kernel
    registers.gdt.base = gdt.base
    registers.gdt.limit = gdt.limit
    registers.idt.base = idt.base
    registers.idt.limit = idt.limit
    registers.cr0 = cr0
    registers.cr3 = cr3
    registers.cr4 = cr4
    registers.efer = efer
  }
}
