// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import GuestMemory
public import Linux

/// A virtual machine with the full in-kernel irqchip and PIT (KVM_CREATE_VM).
public final class VirtualMachine: Sendable {
  let descriptor: OwnedDescriptor
  let runSize: UInt64
  /// The pause of the VM's vCPUs between two instructions.
  let pause: CPUPause

  /// Creates a VM with interrupt controllers and a timer, and without memory.
  ///
  /// - Parameters:
  ///   - system: The open /dev/kvm.
  ///   - identityMap: The GPA of a page for VT-x (KVM_SET_IDENTITY_MAP_ADDR).
  ///   - taskState: The GPA of three pages for VT-x (KVM_SET_TSS_ADDR).
  public init(
    _ system: borrowing KVMSystem, identityMap: GuestAddress, taskState: GuestAddress
  ) throws(KernelError) {
    let number = try check(
      cl_kvm_number(system.descriptor.number, IOC_KVM_CREATE_VM, 0), "KVM_CREATE_VM")
    descriptor = OwnedDescriptor(owning: number)
    runSize = try system.runSize()
    pause = try CPUPause()
    try check(cl_kvm_set_identity_map(number, identityMap.rawValue), "KVM_SET_IDENTITY_MAP_ADDR")
    try check(
      cl_kvm_number(number, IOC_KVM_SET_TSS_ADDR, UInt(taskState.rawValue)),
      "KVM_SET_TSS_ADDR")
    try check(cl_kvm_number(number, IOC_KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP")
    // Firmware masks the 8259s, and Linux on hardware-reduced ACPI ignores them. The LINT0 of the boot CPU accepts them
    // after a reset, so that an unmasked interrupt would arrive as an exception's vector.
    try check(cl_kvm_mask_pics(number), "KVM_SET_IRQCHIP of the 8259s")
    try check(cl_kvm_create_pit(number), "KVM_CREATE_PIT2")
    if system.reportsEmulationFailures {
      // Otherwise KVM itself injects #UD unless the guest is at CPL 0.
      try check(
        cl_kvm_enable(number, UInt32(KVMSystem.exitOnEmulationFailure), 1),
        "KVM_ENABLE_CAP KVM_CAP_EXIT_ON_EMULATION_FAILURE")
    }
  }

  /// Maps a range of host memory into the guest (KVM_SET_USER_MEMORY_REGION).
  ///
  /// - Parameters:
  ///   - slot: The number of the memory slot.
  ///   - base: The GPA of the first byte; a multiple of the page size.
  ///   - size: Bytes; a multiple of the page size.
  ///   - host: The host virtual address of the first byte; a multiple of the page size.
  public func setMemory(
    slot: UInt32, at base: GuestAddress, size: UInt64, host: UInt64
  ) throws(KernelError) {
    try check(
      cl_kvm_set_memory_slot(descriptor.number, slot, 0, base.rawValue, size, host),
      "KVM_SET_USER_MEMORY_REGION slot \(slot), \(size) bytes at GPA \(base)")
  }

  /// Removes a memory slot. When this returns, no vCPU uses its memory.
  public func removeMemory(slot: UInt32) throws(KernelError) {
    try check(
      cl_kvm_set_memory_slot(descriptor.number, slot, 0, 0, 0, 0),
      "KVM_SET_USER_MEMORY_REGION slot \(slot), remove")
  }

  /// Connects an eventfd to an edge-triggered GSI (KVM_IRQFD). A signal then raises the interrupt without
  /// running code of this process.
  ///
  /// A count that the eventfd already has is injected once and reset to zero.
  public func connect(event: Int32, toInterrupt gsi: UInt32) throws(KernelError) {
    try check(cl_kvm_irqfd(descriptor.number, event, gsi, 0, -1), "KVM_IRQFD gsi \(gsi)")
    // KVM_IRQFD injects a pending count but leaves it in the eventfd. Drain it: later signals are consumed by
    // KVM, so that none is lost or doubled.
    do throws(KernelError) { try check(cl_eventfd_take(event), "read eventfd") } catch {
      // After an error the caller may connect the eventfd again. KVM refuses this while the eventfd is
      // connected.
      try disconnect(event: event, fromInterrupt: gsi)
      throw error
    }
  }

  /// Connects an eventfd to a level-triggered GSI. The GSI stays asserted until the guest's end of interrupt.
  /// KVM then deasserts it and signals `resample` (KVM_IRQFD_FLAG_RESAMPLE). Several eventfds may share a
  /// GSI.
  public func connect(event: Int32, toLevelGSI gsi: UInt32, resample: Int32) throws(KernelError) {
    try check(
      cl_kvm_irqfd(descriptor.number, event, gsi, UInt32(KVM_IRQFD_FLAG_RESAMPLE), resample),
      "KVM_IRQFD gsi \(gsi), level")
  }

  /// Disconnects an eventfd from a GSI. When this returns, the eventfd raises no more interrupts and keeps
  /// its count.
  public func disconnect(event: Int32, fromInterrupt gsi: UInt32) throws(KernelError) {
    try check(
      cl_kvm_irqfd(descriptor.number, event, gsi, UInt32(KVM_IRQFD_FLAG_DEASSIGN), -1),
      "KVM_IRQFD deassign gsi \(gsi)")
  }

  /// Creates the KVM device that records VFIO groups (KVM_DEV_TYPE_VFIO). KVM then detects non-coherent DMA
  /// and may use posted interrupts. Closing the device removes its groups.
  public func makeVFIODevice() throws(KernelError) -> KVMVFIODevice {
    let number = try check(
      cl_kvm_create_device(descriptor.number, KVM_DEV_TYPE_VFIO.rawValue),
      "KVM_CREATE_DEVICE KVM_DEV_TYPE_VFIO")
    return KVMVFIODevice(descriptor: OwnedDescriptor(owning: number))
  }

  /// KVM's record of the VFIO groups or cdevs of a VM.
  public final class KVMVFIODevice: Sendable {
    private let descriptor: OwnedDescriptor

    init(descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Adds a group or a cdev by its open descriptor (KVM_DEV_VFIO_FILE_ADD). KVM holds a reference to the file.
    public func add(file: Int32) throws(KernelError) {
      try check(cl_kvm_vfio_file(descriptor.number, file, true), "KVM_DEV_VFIO_FILE_ADD")
    }

    /// Removes a group or a cdev (KVM_DEV_VFIO_FILE_DEL). A cdev whose descriptor is closed after that is released.
    public func remove(file: Int32) throws(KernelError) {
      try check(cl_kvm_vfio_file(descriptor.number, file, false), "KVM_DEV_VFIO_FILE_DEL")
    }
  }
}
