// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux

/// The CPUID leaves of a guest: all that KVM supports, with the topology of this VM
/// (Intel SDM vol. 2 CPUID; AMD APM vol. 3 appendix E).
public struct CPUFeatures: Sendable {
  private var entries: [kvm_cpuid_entry2]
  private let cpus: UInt32

  /// Reads the leaves that KVM supports (KVM_GET_SUPPORTED_CPUID).
  ///
  /// - Parameters:
  ///   - system: The open /dev/kvm.
  ///   - cpus: The number of vCPUs of the VM, in one package with one thread per core.
  ///   - isNested: True if the guest sees VMX or SVM and can run virtual machines itself.
  public init(_ system: borrowing KVMSystem, cpus: Int, isNested: Bool = false) throws(KernelError) {
    var count: Int32 = 0
    let capacity = 256
    // SAFETY: the call fills in at most `capacity` entries and returns their number.
    entries = unsafe [kvm_cpuid_entry2](unsafeUninitializedCapacity: capacity) { buffer, initialized in
      unsafe count = cl_kvm_supported_cpuid(
        system.descriptor.number, buffer.baseAddress, UInt32(capacity))
      initialized = Int(max(count, 0))
    }
    try check(count, "KVM_GET_SUPPORTED_CPUID")
    self.cpus = UInt32(cpus)
    if system.hasDeadlineTimer { set(1) { $0.ecx |= 1 << 24 } }
    describePackage()
    if !isNested { hideVirtualization() }
    // The processor's name and first-level caches. KVM leaves both to userspace (the caches on Linux 6.1).
    for function in 0x8000_0002...0x8000_0005 as ClosedRange<UInt32> {
      // SAFETY: the call fills in the struct.
      set(function) { leaf in unsafe cl_host_cpuid(&leaf) }
    }
  }

  /// Creates leaves for one vCPU from entries that KVM supports.
  init(entries: [kvm_cpuid_entry2]) { (self.entries, cpus) = (entries, 1) }

  /// The number of guest-physical address bits (leaf 8000_0008 EAX).
  public var addressBits: Int {
    guard let leaf = entries.first(where: { $0.function == 0x8000_0008 }) else { return 36 }
    return Int(leaf.eax & 0xFF)
  }

  /// Hides VMX and SVM. KVM then also refuses their registers: the VMX capability MSRs, CR4.VMXE and
  /// EFER.SVME.
  mutating func hideVirtualization() {
    set(1) { $0.ecx &= ~(1 << 5) }  // VMX (SDM vol. 2 CPUID, leaf 1)
    set(0x8000_0001) { $0.ecx &= ~(1 << 2) }  // SVM (APM vol. 3 §E.4.2)
    // SVM's revision and features.
    set(0x8000_000A) { leaf in (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) = (0, 0, 0, 0) }
  }

  /// Returns EAX to EDX of subleaf 0 of a leaf, or nil if KVM does not support the leaf.
  func leaf(_ function: UInt32) -> (eax: UInt32, ebx: UInt32, ecx: UInt32, edx: UInt32)? {
    entries.first { $0.function == function && $0.index == 0 }.map { ($0.eax, $0.ebx, $0.ecx, $0.edx) }
  }

  private mutating func set(_ function: UInt32, _ change: (inout kvm_cpuid_entry2) -> Void) {
    for index in entries.indices where entries[index].function == function { change(&entries[index]) }
  }

  /// The number of APIC ID bits that identify a core within the package.
  private var coreBits: UInt32 { cpus <= 1 ? 0 : UInt32(32 - (cpus - 1).leadingZeroBitCount) }

  /// Sets the leaves that are equal for all vCPUs.
  private mutating func describePackage() {
    let cpus = cpus
    let coreBits = coreBits
    let sharing = (1 << coreBits) - 1 as UInt32
    set(1) { leaf in
      leaf.ebx = leaf.ebx & 0x0000_FFFF | min(cpus, 255) << 16
      leaf.ecx |= 1 << 21  // x2APIC, which KVM emulates on every host
      leaf.ecx |= 1 << 31  // hypervisor present; leaf 4000_0000 identifies it
      leaf.edx = cpus > 1 ? leaf.edx | 1 << 28 : leaf.edx & ~(1 << 28)
    }
    set(4) { leaf in
      guard leaf.eax & 0x1F != 0 else { return }
      let shared = leaf.eax >> 5 & 7 >= 3 ? sharing : 0
      leaf.eax = leaf.eax & 0x3FFF | shared << 14 | min(sharing, 63) << 26
    }
    set(0x8000_0008) { leaf in leaf.ecx = leaf.ecx & ~0xF0FF | coreBits << 12 | min(cpus - 1, 255) }
    set(0x8000_0001) { leaf in
      leaf.ecx = cpus > 1 ? leaf.ecx | 2 : leaf.ecx & ~2  // CmpLegacy
    }
    set(0x8000_001D) { leaf in
      guard leaf.eax & 0x1F != 0 else { return }
      leaf.eax = leaf.eax & 0x3FFF | (leaf.eax >> 5 & 7 >= 3 ? sharing : 0) << 14
    }
    for function in [0xB, 0x1F] as [UInt32] where entries.contains(where: { $0.function == function }) {
      entries.removeAll { $0.function == function }
      // Level type 1 is a thread, 2 a core (SDM leaf 0BH).
      let levels: [(UInt32, UInt32, UInt32)] = [(0, 1, 1 << 8), (coreBits, cpus, 2 << 8 | 1), (0, 0, 2)]
      for (index, level) in levels.enumerated() {
        var leaf = kvm_cpuid_entry2()
        leaf.function = function
        leaf.index = UInt32(index)
        leaf.flags = UInt32(KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
        (leaf.eax, leaf.ebx, leaf.ecx) = level
        entries.append(leaf)
      }
    }
  }

  /// Sets the CPUID leaves of a vCPU, with its APIC ID in each leaf that has one.
  func apply(to cpu: borrowing OwnedDescriptor, apicID: UInt32) throws(KernelError) {
    var own = self
    own.set(1) { $0.ebx = $0.ebx & 0x00FF_FFFF | apicID << 24 }
    for function in [0xB, 0x1F] as [UInt32] { own.set(function) { $0.edx = apicID } }
    own.set(0x8000_001E) { leaf in
      leaf.eax = apicID
      leaf.ebx = apicID & 0xFF
      leaf.ecx = 0
    }
    // SAFETY: the array lives for the call, which reads `count` of its elements.
    let result = unsafe own.entries.withUnsafeBufferPointer { buffer in
      unsafe cl_kvm_set_cpuid(cpu.number, buffer.baseAddress, UInt32(buffer.count))
    }
    try check(result, "KVM_SET_CPUID2 of vCPU \(apicID)")
  }
}
